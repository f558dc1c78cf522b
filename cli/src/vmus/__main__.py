"""`python -m vmus`, for torchrun and for places without the script."""

from vmus.app import main

main()
