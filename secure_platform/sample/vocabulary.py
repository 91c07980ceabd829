"""What the sample's people are called, where they live and what they have: terms of public vocabularies only.

Codes are SNOMED CT, LOINC and RxNorm as the Synthea export uses them. The places include some in every kind
of area that the Safe Harbor rule on ZIP codes treats differently (45 CFR 164.514(b)(2)(i)(B)).
"""

from typing import Final, Literal, NamedTuple


class Place(NamedTuple):
    """A town and its coordinates, in degrees."""

    city: str
    county: str
    state: str
    zip_code: str
    latitude: float
    longitude: float


class Medication(NamedTuple):
    """A prescription for a condition; the cost is of one dispense."""

    code: str
    description: str
    cents: int


class Condition(NamedTuple):
    """A diagnosis.

    Attributes:
        share: Share of the people who may have it that do; for rare ones, see `patients`.
        who: Who may have it.
        chronic: It has no end.
        patients: Exact number of patients, for conditions so rare that their counts must be suppressed.
    """

    code: str
    description: str
    share: float = 0.0
    who: Literal["anyone", "adult", "woman", "child"] = "anyone"
    chronic: bool = False
    patients: int = 0
    medication: Medication | None = None


class Measure(NamedTuple):
    """A numeric observation, uniform between two bounds, with one decimal."""

    category: str
    code: str
    description: str
    units: str
    low: int
    high: int


class Answer(NamedTuple):
    """An observation in words."""

    code: str
    description: str
    values: tuple[str, ...]


class Visit(NamedTuple):
    """A kind of encounter; its length is in minutes."""

    encounter_class: str
    code: str
    description: str
    cents: int
    minutes: int


FIRST_F: Final = (
    *("Jackie", "Jetta", "Tess", "Rosalia", "Romona", "Jovan", "Trish", "Lavonda", "Cathey", "Pearle"),
    *("Eugena", "Jeannine", "Merle", "María José", "Anaïs", "Zoë", "Ludivina", "Shaquana", "Mei", "Fatima"),
)
FIRST_M: Final = (
    *("Maynard", "Curt", "Gene", "Lewis", "Werner", "Keenan", "Dewey", "Hai", "Jarvis", "Ronald", "Amos"),
    *("Noe", "Fredric", "Caleb", "Víctor", "Jürgen", "Søren", "Kwame", "Rajesh", "Jean-Luc", "Dmitri"),
)
LAST: Final = (
    *("Mosciski", "Schmidt", "Okuneva", "Mann", "DuBuque", "Schmeler", "Olivo", "Ankunding", "Zulauf"),
    *("Roberts", "Johns", "Moen", "Kerluke", "Ryan", "Conroy", "Reynolds", "Schultz", "Rogahn", "Miller"),
    *("Pacocha", "Prohaska", "Mante", "Gleichner", "Spinka", "O'Connell", "D'Amore", "Núñez", "Van der Berg"),
)
STREETS: Final = (
    *("Stamm Lock", "Kemmer Neck", "Labadie Underpass", "Daniel Union", "Sawayn Throughway", "Rowe Light"),
    *("Howe Landing", "Dibbert Ville", "Kris Dam", "Stoltenberg Vale", "Rodriguez Ramp", "Olson Union"),
)
UNITS: Final = ("", "", "", " Unit {}", " Apt {}", " Suite {}", ", Apt {}", ', "Rear House"')
RACES: Final = ("white", "white", "white", "white", "white", "black", "asian", "hawaiian", "native", "other")

PLACES: Final = (
    Place("Somerville", "Middlesex County", "Massachusetts", "02155", 42.3688, -71.1517),
    Place("Winchester", "Middlesex County", "Massachusetts", "01890", 42.4852, -71.13),
    Place("Orleans", "Barnstable County", "Massachusetts", "02653", 41.7964, -69.9737),
    Place("Framingham", "Middlesex County", "Massachusetts", "01701", 42.2766, -71.469),
    Place("Weymouth", "Norfolk County", "Massachusetts", "02188", 42.2526, -70.969),
    Place("Pittsfield", "Berkshire County", "Massachusetts", "01201", 42.4805, -73.2348),
    Place("Springfield", "Hampden County", "Massachusetts", "01013", 42.0878, -72.5739),
    Place("Lowell", "Middlesex County", "Massachusetts", "01851", 42.6306, -71.2693),
    Place("Plymouth", "Plymouth County", "Massachusetts", "02360", 41.9152, -70.5833),
    Place("Boston", "Suffolk County", "Massachusetts", "02108", 42.3588, -71.0707),
    Place("Taunton", "Bristol County", "Massachusetts", "", 41.9286, -71.0729),
    Place("Uxbridge", "Worcester County", "Massachusetts", "", 42.0813, -71.6255),
)
RESTRICTED_PLACES: Final = (
    Place("Charlestown", "Sullivan County", "New Hampshire", "03603", 43.2387, -72.4245),
    Place("Averill", "Essex County", "Vermont", "05901", 44.9953, -71.6967),
    Place("New London", "New London County", "Connecticut", "06320", 41.3557, -72.0995),
    Place("Two Harbors", "Lake County", "Minnesota", "55616", 47.0227, -91.6707),
    Place("Valentine", "Cherry County", "Nebraska", "69201", 42.8728, -100.551),
    Place("Adrian", "Oldham County", "Texas", "79001", 35.2742, -102.6644),
    Place("Rawlins", "Carbon County", "Wyoming", "82301", 41.7911, -107.2387),
    Place("Jackson", "Teton County", "Wyoming", "83001", 43.4799, -110.7624),
    Place("Socorro", "Socorro County", "New Mexico", "87801", 34.0584, -106.8914),
    Place("Tucumcari", "Quay County", "New Mexico", "88401", 35.1717, -103.725),
    Place("Alamo", "Lincoln County", "Nevada", "89001", 37.365, -115.1645),
    Place("Ely", "White Pine County", "Nevada", "89301", 39.2533, -114.8742),
)
"""ZIP3 areas of at most 20,000 people in the 2000 census."""

VISITS: Final = (
    Visit("wellness", "162673000", "General examination of patient (procedure)", 12916, 15),
    Visit("wellness", "162673000", "General examination of patient (procedure)", 12916, 15),
    Visit("ambulatory", "185345009", "Encounter for symptom", 7749, 15),
    Visit("ambulatory", "390906007", "Follow-up encounter", 7749, 15),
    Visit("outpatient", "185349003", "Encounter for check up (procedure)", 7749, 30),
    Visit("urgentcare", "702927004", "Urgent care clinic (procedure)", 12916, 45),
    Visit("emergency", "50849002", "Emergency room admission (procedure)", 12916, 120),
    Visit("inpatient", "32485007", "Hospital admission", 12916, 2880),
)

LISINOPRIL: Final = Medication("314076", "lisinopril 10 MG Oral Tablet", 2)
SIMVASTATIN: Final = Medication("314231", "Simvastatin 10 MG Oral Tablet", 2)
METFORMIN: Final = Medication(
    "860975", "24 HR Metformin hydrochloride 500 MG Extended Release Oral Tablet", 1034
)
ACETAMINOPHEN: Final = Medication("313782", "Acetaminophen 325 MG Oral Tablet", 591)
ALBUTEROL: Final = Medication(
    "2123111", "NDA020503 200 ACTUAT Albuterol 0.09 MG/ACTUAT Metered Dose Inhaler", 49173
)

CONDITIONS: Final = (
    Condition("160903007", "Full-time employment (finding)", 0.6, "adult"),
    Condition("73595000", "Stress (finding)", 0.4, "adult"),
    Condition("59621000", "Hypertension", 0.4, "adult", chronic=True, medication=LISINOPRIL),
    Condition("55822004", "Hyperlipidemia", 0.25, "adult", chronic=True, medication=SIMVASTATIN),
    Condition(
        "44054006",
        "Diabetes mellitus type 2, uncomplicated (disorder)",
        0.12,
        "adult",
        chronic=True,
        medication=METFORMIN,
    ),
    Condition("15777000", "Prediabetes", 0.2, "adult", chronic=True),
    Condition("195662009", "Acute viral pharyngitis (disorder)", 0.25),
    Condition("444814009", "Viral sinusitis (disorder)", 0.3),
    Condition("10509002", "Acute bronchitis (disorder)", 0.15, medication=ACETAMINOPHEN),
    Condition("271737000", "Anemia (disorder)", 0.1, chronic=True),
    Condition("233678006", "Childhood asthma", 0.25, "child", chronic=True, medication=ALBUTEROL),
    Condition("72892002", "Normal pregnancy", 0.2, "woman"),
    Condition("65966004", "Fracture, closed, of forearm (disorder)", 0.06),
    Condition("254837009", "Malignant neoplasm of breast (disorder)", who="woman", chronic=True, patients=9),
    Condition("418304008", "Diastolic heart failure (disorder)", who="adult", chronic=True, patients=10),
    Condition("190905008", "Cystic fibrosis (disorder)", chronic=True, patients=4),
    Condition("86044005", "Amyotrophic lateral sclerosis (disorder)", who="adult", chronic=True, patients=3),
    Condition("58756001", "Huntington's chorea (disorder)", who="adult", chronic=True, patients=1),
)

MEASURES: Final = (
    Measure("vital-signs", "8302-2", "Body Height", "cm", 148, 196),
    Measure("vital-signs", "29463-7", "Body Weight", "kg", 44, 118),
    Measure("vital-signs", "8480-6", "Systolic Blood Pressure", "mm[Hg]", 98, 165),
    Measure("vital-signs", "8462-4", "Diastolic Blood Pressure", "mm[Hg]", 58, 104),
    Measure("vital-signs", "8867-4", "Heart rate", "/min", 55, 104),
    Measure("laboratory", "2339-0", "Glucose [Mass/volume] in Blood", "mg/dL", 65, 145),
    Measure("laboratory", "2093-3", "Cholesterol [Mass/volume] in Serum or Plasma", "mg/dL", 120, 260),
)
ANSWERS: Final = (
    Answer(
        "72166-2",
        "Tobacco smoking status NHIS",
        ("Never smoker", "Former smoker", "Current every day smoker"),
    ),
    Answer("71802-3", "Housing status", ("I have housing", "I have housing, but I worry about losing it")),
    Answer("93038-8", "Stress level", ("Not at all", "A little bit", 'Answered "quite a bit"', "Very much")),
)
