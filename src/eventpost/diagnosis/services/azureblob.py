"""Azure Storage's codes and their findings, where files are kept in a container.

Who is refused, and why, is told as for queues: it is the same service.
"""

from eventpost.diagnosis.services import storagequeue

FINDINGS = storagequeue.FINDINGS | {
    "ContainerNotFound": "EP3310",
    "ContainerBeingDeleted": "EP3310",
    "ContainerDisabled": "EP3310",
    "BlobImmutableDueToPolicy": "EP3311",
    "LeaseIdMissing": "EP3311",
    "UnauthorizedBlobOverwrite": "EP3311",
    "BlobNotFound": "EP3312",
    "ResourceNotFound": "EP3310",
    "FileTooLarge": "EP3331",
    "FileMalformed": "EP3330",
}
