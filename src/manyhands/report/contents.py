"""All that a report says of some runs, before it is a page, pictures or tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from manyhands.report.accounts import ledger_tables
from manyhands.report.answers import Answers, find_answers
from manyhands.report.collection import Collection, collect_runs
from manyhands.report.comparison import comparison_tables
from manyhands.report.figure import Figure, Table
from manyhands.report.tables import Row, summary_rows, summary_table
from manyhands.report.target import Reached, rounds_tables
from manyhands.report.times import Times, times_tables


@dataclass(frozen=True, eq=False)
class Contents:
    """Of the runs of a collection; ``target`` is the accuracy of times and bytes, None where one is to be chosen."""

    collection: Collection
    target: float | None

    @classmethod
    def read(cls, paths: Sequence[Path], target: float | None = None) -> "Contents":
        """Of the runs at, or below, the paths, the target by default the study's own.

        Raises UserError where no run can be read.
        """
        collection = collect_runs(paths)
        return cls(collection, target or collection.target)

    @cached_property
    def rows(self) -> list[Row]:
        return summary_rows(self.collection.runs)

    @cached_property
    def answers(self) -> list[Answers]:
        return find_answers(self.rows, self.target)

    @cached_property
    def comparisons(self) -> list[Table]:
        return comparison_tables(self.answers)

    @cached_property
    def times(self) -> list[Times]:
        return times_tables(self.rows, self.target)

    @cached_property
    def rounds(self) -> list[Reached]:
        return rounds_tables(self.rows, self.target)

    # What draws is imported late: altair takes most of a second, and who only wants tables needs none of it.

    @cached_property
    def times_figures(self) -> list[Figure]:
        from manyhands.report.charts import times_figures

        return times_figures(self.times)

    @cached_property
    def sections(self) -> dict[str, list[Figure]]:
        """The figures of the runs together, by heading."""
        from manyhands.report.charts import study_figures

        return study_figures(self.rows)

    @cached_property
    def of_runs(self) -> list[list[Figure]]:
        """The figures of each run by itself."""
        from manyhands.report.charts import run_figures

        return [run_figures(run, f"run-{number}") for number, run in enumerate(self.collection.runs)]

    @property
    def figures(self) -> list[Figure]:
        """All, in the page's order."""
        return [figure for group in (self.times_figures, *self.sections.values(), *self.of_runs) for figure in group]

    @cached_property
    def ledgers(self) -> list[list[Table]]:
        """The ledger's tables of each run."""
        return [ledger_tables(run, f"run-{number}") for number, run in enumerate(self.collection.runs)]

    @property
    def tables(self) -> list[Table]:
        """All, those behind the figures among them."""
        tables = [summary_table(self.rows), *self.comparisons]
        tables += [table.as_table(f"time-to-accuracy-{number}") for number, table in enumerate(self.times)]
        tables += [table.as_table(f"rounds-to-accuracy-{number}") for number, table in enumerate(self.rounds)]
        tables += [figure.table for figure in self.figures]
        return tables + [table for group in self.ledgers for table in group]
