"""The command line of vmus: a thin Typer app over `vmusprod`."""
