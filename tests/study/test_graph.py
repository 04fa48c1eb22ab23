"""How many threads a chapter gets, from what can run at its side."""

import pytest

from mergelib.study.graph import Plan
from mergelib.study.profiles import Chapter, Profile

NEEDS = {"1": (), "2": ("1",), "3": (), "4": ("2",), "5": ("2",), "6": ("4", "5")}


def planned(needs: dict[str, tuple[str, ...]]) -> Plan:
    chapters = {name: Chapter(name, None, {}, needed, ()) for name, needed in needs.items()}
    profile = Profile("p", "t", "s", (), False, chapters)
    return Plan(profile, "", {}, dict.fromkeys(chapters, ""), "")


@pytest.mark.parametrize("cores, side_by_side", [(1, 1), (2, 1), (3, 1), (4, 1), (8, 2)])
def test_a_chapter_alone_gets_all_cores_and_others_share_them(cores, side_by_side):
    plan = planned(NEEDS)
    found = {name: plan.threads(name, cores) for name in NEEDS}
    # 2 comes when 1 and 3, which need nothing, are done; 4 and 5 meet; 6 comes after both.
    assert found == {**dict.fromkeys(NEEDS, side_by_side), "2": cores, "6": cores}


def test_the_chapters_of_the_study():
    from mergelib.study.profiles import load_profile

    needs = {name: chapter.needs for name, chapter in load_profile("desk").chapters.items()}
    plan = planned(needs)
    threads = {name: plan.threads(name, 2) for name in needs}
    assert threads["08_cheaper_mixtures"] == 2
    assert threads["04_adaptive_weight_disentanglement"] == threads["05_adamerging"] == 1
