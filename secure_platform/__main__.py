"""`python -m secure_platform` is the `secure-platform` command, for where it is not on PATH."""

from secure_platform.cli.main import main

if __name__ == "__main__":
    main()
