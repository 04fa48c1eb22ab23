"""The one style of each method, and the one heat map."""

import numpy as np
import pandas as pd
import pytest

from mergelib import figures
from mergelib.figures.heatmap import heatmap
from mergelib.figures.style import (
    DIVERGING,
    METHOD_STYLES,
    SEQUENTIAL,
    method_style,
    task_style,
    variant_lines,
)
from mergelib.methods import entries
from mergelib.methods.titles import ENDS

pytestmark = pytest.mark.usefixtures("book_style")


def test_every_method_of_the_registry_has_a_style_and_nothing_else_has():
    assert set(METHOD_STYLES) == {*entries, *ENDS}


def test_no_two_methods_share_a_colour_or_a_marker():
    colours, markers = zip(*METHOD_STYLES.values(), strict=True)
    assert len(set(colours)) == len(set(markers)) == len(METHOD_STYLES)


def test_variants_share_a_style_and_differ_in_their_lines():
    assert method_style("adamerging, task-wise") == method_style("adamerging")
    lines = variant_lines(["ties", "adamerging", "adamerging, on test", "ties"])
    assert lines == {"ties": "-", "adamerging": "-", "adamerging, on test": "--"}


def test_a_method_without_a_style_is_named():
    with pytest.raises(KeyError, match="no style for method 'TIES'"):
        method_style("TIES, row")


def test_tasks_have_styles_however_many_there_are():
    assert task_style(0) == task_style(len(METHOD_STYLES)) != task_style(1)


TABLE = pd.DataFrame([[1.0, 99.0, np.nan], [50.0, 0.0, 20.0]], ["up", "down"], list("abc"))


def test_a_heat_map_has_its_first_row_on_top_and_its_numbers_in_the_cells(new_axis):
    cells = heatmap(new_axis, TABLE, (0, 100), numbers=".0f")
    assert np.ma.filled(cells.get_array(), np.nan) == pytest.approx(TABLE.to_numpy(), nan_ok=True)
    assert cells.get_clim() == (0, 100) and cells.get_cmap().name == SEQUENTIAL
    assert [t.get_text() for t in new_axis.get_yticklabels()] == ["up", "down"]
    assert new_axis.yaxis_inverted()
    written = {t.get_text(): t.get_color() for t in new_axis.texts}
    assert list(written) == ["1", "99", "50", "0", "20"]
    assert written["1"] == written["0"] != written["99"]


def test_a_heat_map_takes_its_limits_from_the_table_unless_it_is_given_some(new_axis):
    cells = heatmap(new_axis, TABLE, diverging=True, rotation=0)
    assert cells.get_clim() == (0, 99) and cells.get_cmap().name == DIVERGING
    assert not new_axis.texts
    assert {t.get_rotation() for t in new_axis.get_xticklabels()} == {0}


@pytest.fixture
def new_axis():
    import matplotlib.pyplot as plt

    return plt.subplots()[1]


def test_accuracies_are_in_per_cent_and_cosines_leave_out_the_diagonal():
    shares = pd.DataFrame([[0.25, 0.5]], ["base"], ["a", "b"])
    axis = figures.accuracy_matrix(shares, "model", "evaluated on").axes[0]
    assert [t.get_text() for t in axis.texts] == ["25", "50"]
    cosines = np.array([[1.0, 0.12], [0.12, 1.0]])
    axis = figures.cosine_matrix(cosines, ["a", "b"]).axes[0]
    assert [t.get_text() for t in axis.texts] == ["0.12", "0.12"]
    assert axis.collections[0].get_clim() == (-0.4, 0.4)
