"""Diagnoses: the description of a code of ICD-10-CM → the chapter that it stands in."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator

from mergelib.suites.desk.about import About
from mergelib.suites.desk.packages import read
from mergelib.suites.desk.splits import Row, divided
from mergelib.suites.texts import Texts, plain, shuffled

FILE = "simple_icd_10_cm/data/icd10c-tabular-April-1-2026.xml"
SHORTEST = 4  # characters of a code, without its dot: what is coarser names whole categories
PER_CATEGORY = 4  # at most: hundreds say the same of the left hand and the right

ABOUT = About(
    name="diagnoses",
    title="Diagnoses",
    classes=(
        "infections and parasites",
        "tumours and cancer",
        "the blood and the immune system",
        "hormones, nutrition and metabolism",
        "mental and behavioural disorders",
        "the nervous system",
        "the eye",
        "the ear",
        "the heart and the circulation",
        "breathing and the lungs",
        "digestion, the stomach and the teeth",
        "the skin",
        "bones, joints and muscles",
        "the kidneys, the bladder and the sexual organs",
        "pregnancy and childbirth",
        "newborn babies",
        "malformations from birth and chromosomes",
        "symptoms and abnormal findings",
        "injuries and poisoning",
        "causes of accidents and injuries",
        "contact with health services and the patient's history",
    ),
    templates=("a diagnosis about {}.",),
    note="Description of a code of ICD-10-CM, April 2026 → chapter; at most four of a category; "
    "codes of one category are in one split. The chapter of codes for special purposes, which has "
    "few, is left out.",
    origin="ICD-10-CM",
    authors="U.S. National Center for Health Statistics",
    packages=("simple-icd-10-cm",),
    licence="public domain (U.S. government); the package: MIT",
)


def build(seed: int) -> Texts:
    return divided(rows(seed), seed)


def rows(seed: int) -> Iterator[Row]:
    """Descriptions; a group is a category, the codes that share their first three characters."""
    root = ElementTree.parse(read("simple-icd-10-cm", FILE)).getroot()
    for label, chapter in enumerate(root.findall("chapter")[: len(ABOUT.classes)]):
        for category in chapter.iter("diag"):
            name = category.findtext("name", "")
            if len(name) == 3:
                texts = [
                    plain(code.findtext("desc", ""))
                    for code in category.iter("diag")
                    if len(code.findtext("name", "").replace(".", "")) >= SHORTEST
                ]
                for text in shuffled(texts, f"{name}/{seed}")[:PER_CATEGORY]:
                    yield Row(text, label, name)
