"""The conformance kit: what every part must pass, ours or a plugin's.

``checks("trick", "my-trick")`` gives named checks, for a test to be made of each::

    @pytest.mark.parametrize("check", checks("trick", "my-trick"), ids=str)
    def test_my_trick(check: Check) -> None:
        check()

Formulas are the author's to prove: :func:`check_objective` holds a variant's losses against
functions of logits that are written independently.
"""

from harness.testing.cells import KitCell
from harness.testing.formulas import check_objective
from harness.testing.kit import Check, checks
from harness.testing.specs import make_spec

__all__ = ["Check", "KitCell", "check_objective", "checks", "make_spec"]
