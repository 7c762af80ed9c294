"""``python -m tlnlp`` is the ``tlnlp`` command."""

from tlnlp.cli.commands import main

if __name__ == "__main__":
    main()
