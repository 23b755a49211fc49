"""`python -m ecsctl`."""

from ecsctl.main import main

main()
