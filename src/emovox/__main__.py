"""`python -m emovox`: the command line, where the command itself is not on the path."""

from emovox.cli.main import run

if __name__ == "__main__":
    run()
