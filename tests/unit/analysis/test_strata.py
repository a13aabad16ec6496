import numpy as np
import pytest
from statsmodels.stats.contingency_tables import StratifiedTable

from pipelines.analysis.strata import Stratum, standardized


def test_the_chance_is_that_of_mantel_and_haenszel() -> None:
    draw = np.random.default_rng(5)
    strata = [
        Stratum(
            units=int(n), hits=int(draw.binomial(n, 0.5)), control_units=int(m), control_hits=int(draw.binomial(m, 0.4))
        )
        for n, m in draw.integers(20, 400, (6, 2))
    ]
    tables = [
        np.array([[s.hits, s.units - s.hits], [s.control_hits, s.control_units - s.control_hits]]) for s in strata
    ]
    reference = StratifiedTable([table.astype(float) for table in tables]).test_null_odds(correction=False)
    assert standardized(strata).p == pytest.approx(reference.pvalue, rel=1e-9)


def test_a_stratum_of_one_arm_alone_counts_for_nothing() -> None:
    both = Stratum(units=100, hits=50, control_units=100, control_hits=20)
    alone = Stratum(units=0, hits=0, control_units=1000, control_hits=1000)
    assert standardized([both, alone]) == standardized([both])
    assert standardized([alone]).p == 1.0


def test_nothing_is_no_difference() -> None:
    assert standardized([]).p == 1.0
