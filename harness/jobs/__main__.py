"""``python -m harness.jobs FILE DEVICE`` trains a cohort: the entry of every engine."""

import sys
from pathlib import Path

from harness.jobs.job import main

if len(sys.argv) != 3:
    sys.exit("usage: python -m harness.jobs FILE DEVICE (cpu or cuda:N)")
sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
