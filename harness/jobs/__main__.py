"""``python -m harness.jobs COHORT.json --store DIR`` trains a cohort: the entry of every engine."""

import sys

from harness.jobs.job import main

sys.exit(main())
