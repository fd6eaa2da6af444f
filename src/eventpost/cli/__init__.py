"""The command line: `eventpost NOUN VERB`.

One module per noun. A module's top level imports only what building the parser needs, so that help
and completion answer at once; a command imports what it uses when it runs.
"""
