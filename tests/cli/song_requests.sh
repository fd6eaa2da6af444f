# The commands of the article on dead letters in Event Grid, as it prints them; where a page's
# typesetting took a backslash from the end of a line it is put back.

rgname=msdndemo
topicname=song-requests
storagename=teststation
containername=deadletterevents

# storage ID
storageid=$(az storage account show –-name $storagename \
  –-resource-group $rgname –-query id --output tsv)
# container ID for dead letter channel
containerid="$storageid/blobservices/default/containers/$containername"

# create custom topic
az eventgrid topic create -g $rgname –-name $topicname -l westus2
# save topic endpoint
topicendpoint=$(az eventgrid topic show –-name $topicname -g $rgname \
  –-query “endpoint” –-output tsv)
# save topic key
topickey=$(az eventgrid topic key list --name $topicname -g $rgname \
  --query "key1" --output tsv)

az eventgrid event-subscription create \
  --endpoint $functionurl \
  --topic-name $topicname \
  -g $rgname \
  --name song-request-sub \
  --deadletter-endpoint $containerid \
  --max-delivery-attempts 2 \
  --event-ttl 1

# copy the request body
body=$(cat badsongrequest.json)
# post the request to the custom topic endpoint
curl -sS -X POST -H "aeg-sas-key: $topickey" -d "$body" $topicendpoint
