"""Ids out of everything that was made of their logs.

`--stage=erase` erases users (`stage`); `--stage=expire` takes out ids that came
up on none of the newest days (`expiry`).

In this order, each of which a command that was killed goes on with when it is
given again:

1. the data directory (`input.conversion.erasing` or `expiring`), exchanged at
   once;
2. the artefacts of the work directory (`runs`), exchanged at once: those that
   bear a hash which a vocabulary had before;
3. the exported versions (`exports`), each replaced at one moment by one that is
   made anew of its artefact.

After an erasure `verify` looks for what is left, in all files and by
membership, and `cost` says what it did to the predictions for all others.
"""
