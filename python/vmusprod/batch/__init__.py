"""The same work for many files: on this machine's cores (`pool`), on a cluster (`cluster`)."""
