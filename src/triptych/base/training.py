"""Lightning, as all of triptych imports it: without what it would read of torchmetrics and of torch's compiler, and has no use for here."""

from triptych.base.late import late_compiler, late_scores

late_compiler()
late_scores()

import lightning as L  # noqa: E402 it reads both

__all__ = ["L"]
