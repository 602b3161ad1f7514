"""Label smoothing: softer targets for the discriminator."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from harness.parts import Batch, Context, Game, PerRun, Targets, Trick, column, tricks

FORMS = {
    "uniform": {"real_low": 0.8, "real_high": 1.0, "fake_low": 0.0, "fake_high": 0.0},
    "one-sided": {"real_low": 0.9, "real_high": 0.9, "fake_low": 0.0, "fake_high": 0.0},
    "two-sided": {"real_low": 0.7, "real_high": 1.2, "fake_low": 0.0, "fake_high": 0.3},
}
Target = Annotated[float, PerRun()]


@tricks.register("label-smoothing", source="Salimans et al. 2016, arXiv:1606.03498, §3.4")
class LabelSmoothing(Trick):
    """Draw D's targets from a range instead of teaching it certainty.

    Three forms: ``uniform`` draws the real target from U(0.8, 1); ``one-sided`` sets it to 0.9;
    ``two-sided`` draws real from U(0.7, 1.2) and fake from U(0, 0.3). A form fills in the range,
    and each end can be given. Only ``two-sided`` touches the targets of generated data. For
    lsgan the real target is its b.
    """

    form: Literal["uniform", "one-sided", "two-sided"] = Field(
        default="uniform", description="fills in the ranges that are not given"
    )
    real_low: Target = Field(default=0.8, ge=0, le=2, description="lowest target of real data")
    real_high: Target = Field(default=1.0, ge=0, le=2, description="highest target of real data")
    fake_low: Target = Field(default=0.0, ge=0, le=1, description="lowest target of generated data")
    fake_high: Target = Field(
        default=0.0, ge=0, le=1, description="highest target of generated data"
    )

    @model_validator(mode="before")
    @classmethod
    def fill_in_form(cls, values: Any) -> Any:
        """Take the ends that are not given from the form."""
        form = values.get("form", "uniform") if isinstance(values, dict) else None
        return {**FORMS[form], **values} if isinstance(form, str) and form in FORMS else values

    @model_validator(mode="after")
    def check_form(self) -> Self:
        """Refuse ranges that are reversed or contradict their form's name."""
        if self.real_low > self.real_high or self.fake_low > self.fake_high:
            raise ValueError("the low end of a range lies above its high end")
        if self.form != "two-sided" and self.fake_high > 0:
            raise ValueError("only the two-sided form smooths the targets of generated data")
        if self.form == "one-sided" and self.real_low != self.real_high:
            raise ValueError("the one-sided form has one target: real_low = real_high")
        return self

    def inapplicable(self, context: Context) -> str | None:
        """Refuse objectives that teach no target value."""
        if context.variant.has_targets:
            return None
        return f"{context.variant.id} teaches its discriminator no target that could be smoothed"

    def targets(self, game: Game, batch: Batch, targets: Targets) -> Targets:
        """Draw one target per example."""
        count = batch.judged_real.logits.shape[1]
        u, v = batch.uniform("smooth-real", count), batch.uniform("smooth-fake", count)
        return Targets(
            real=column(self.real_low) + column(self.real_high - self.real_low) * u,
            fake=column(self.fake_low) + column(self.fake_high - self.fake_low) * v,
        )
