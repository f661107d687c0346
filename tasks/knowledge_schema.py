"""What a knowledge world is made of: kinds of things, relations between them, and how they read.

Every relation is a function: a thing has one value of it, so that a chain of relations leads to one
answer. Values are drawn independently and evenly from a relation's range; the ranges of years are
chosen such that whoever makes something was born before. `{s}` is the subject, `{o}` the value,
`{a}` the value with its article.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Kind(NamedTuple):
    """A kind of thing, each of which has a page."""

    name: str
    share: int
    """Of the pages, in percent."""
    titles: tuple[str, ...]
    """How a title is made of an invented name, `{n}`; with `{g}`, a given name, before it."""
    named: str
    """How running text names it, of `{t}`, its title."""
    short: str
    """The same in short, of `{n}`; empty where its title is all it goes by."""
    pronouns: tuple[str, ...]
    """Each thing has one of these."""
    plural: str
    intros: tuple[str, ...]
    fillers: tuple[str, ...]
    """Sentences that say nothing anybody asks for."""


class Relation(NamedTuple):
    """A function from things of a kind to things of another, or to plain values."""

    subject: str
    name: str
    range: str
    """Name of a kind, or of plain values."""
    says: tuple[str, ...]
    """Sentences; the first starts with `{s} `, and can follow `Which film`."""
    ask: str
    """The question for the value."""
    phrase: str = ""
    """A noun phrase for the value; empty for plain values."""
    mutable: bool = False
    """Whether an old page may tell another value."""
    many: str = ""
    """What follows `How many`; empty where nobody counts."""
    order: tuple[str, str] | None = None
    """What follows `Which` for the smaller and the greater of two values."""
    event: str = ""
    """What happened in the year; empty where the value is no year."""


KINDS: tuple[Kind, ...] = (
    Kind(
        "person",
        26,
        ("{g} {n}",),
        "{t}",
        "{n}",
        ("She", "He"),
        "people",
        ("{t} is a person of some renown.", "{t} is a well-known public figure."),
        (
            "Friends describe {s} as patient and hard to hurry.",
            "In interviews {s} has spoken fondly of long walks before breakfast.",
            "A portrait of {s} appeared on a series of stamps.",
            "Little of the private letters of {s} has been published.",
            "The diaries of {s} are kept under lock until the end of the century.",
            "For a time {s} kept bees on the roof.",
            "Several obituaries were written for {s} too early, to general amusement.",
            "The handwriting of {s} is said to be nearly unreadable.",
        ),
    ),
    Kind(
        "city",
        12,
        ("{n}",),
        "{t}",
        "{n}",
        ("It",),
        "cities",
        ("{t} is a city.", "{t} is a city of narrow streets and wide squares."),
        (
            "The old walls of {s} were taken down to make room for a ring road.",
            "Trams run in {s} until shortly after midnight.",
            "A fire destroyed the market hall of {s}, which was rebuilt in brick.",
            "Visitors to {s} often remark on its crooked clock tower.",
            "The winters in {s} are mild and rather wet.",
            "Most of the bakeries of {s} open before dawn.",
            "The railway reached {s} later than its merchants had hoped.",
        ),
    ),
    Kind(
        "region",
        3,
        ("{n}ia", "{n}mark", "{n}land"),
        "{t}",
        "",
        ("It",),
        "regions",
        ("{t} is a region.", "{t} is a region with a parliament of its own."),
        (
            "The dialects of {s} differ from valley to valley.",
            "Much of {s} is covered by forest and heath.",
            "The borders of {s} have not moved for two hundred years.",
            "A long-distance footpath crosses {s} from north to south.",
            "The stone houses of {s} are roofed with slate.",
        ),
    ),
    Kind(
        "river",
        3,
        ("River {n}",),
        "the {t}",
        "the {n}",
        ("It",),
        "rivers",
        ("The {t} is a river.", "The {t} is a slow and winding river."),
        (
            "Herons nest along the lower reaches of {s}.",
            "Barges were once pulled along {s} by horses.",
            "In dry summers {s} can be crossed on foot at several places.",
            "The water of {s} is brown with peat.",
        ),
    ),
    Kind(
        "mountain",
        4,
        ("Mount {n}",),
        "{t}",
        "",
        ("It",),
        "mountains",
        ("{t} is a mountain.", "{t} is a mountain with two summits."),
        (
            "The northern face of {s} keeps its snow into July.",
            "A small hut stands below the ridge of {s}.",
            "Goats graze on the lower slopes of {s}.",
            "The easiest path up {s} takes six hours.",
        ),
    ),
    Kind(
        "company",
        10,
        ("{n} Works", "{n} Brothers", "{n} Holdings", "{n} and Daughters"),
        "{t}",
        "{n}",
        ("It",),
        "companies",
        ("{t} is a company.", "{t} is a privately held company."),
        (
            "The annual report of {s} is known for its photographs.",
            "A strike at {s} was settled within a week.",
            "The canteen of {s} is open to the public on Fridays.",
            "Apprentices at {s} spend their first year in every department.",
            "The logo of {s} has been redrawn only once.",
            "A large part of the shares of {s} is held by its staff.",
        ),
    ),
    Kind(
        "novel",
        9,
        ("The Salt of {n}", "Letters from {n}", "The Weight of {n}", "Return to {n}"),
        "the novel {t}",
        "",
        ("It",),
        "novels",
        ("{t} is a novel.", "{t} is a novel in three parts."),
        (
            "Reviewers praised the last chapter of {s} above all.",
            "The manuscript of {s} was lost on a train and written again.",
            "A stage version of {s} ran for a single season.",
            "The narrator of {s} is never named.",
            "School editions of {s} leave out the epilogue.",
        ),
    ),
    Kind(
        "film",
        9,
        ("A Winter in {n}", "The Road to {n}", "Nobody Leaves {n}", "Lights over {n}"),
        "the film {t}",
        "",
        ("It",),
        "films",
        ("{t} is a film.", "{t} is a film in black and white."),
        (
            "The premiere of {s} was delayed by a power cut.",
            "Two scenes of {s} were cut after the first screening.",
            "The poster of {s} has become more famous than its plot.",
            "Critics were divided over the ending of {s}.",
            "A restored print of {s} was shown to a full house.",
        ),
    ),
    Kind(
        "painting",
        5,
        ("{n} at Dusk", "The Gate of {n}", "Rain on {n}"),
        "the painting {t}",
        "",
        ("It",),
        "paintings",
        ("{t} is a painting.", "{t} is a large painting."),
        (
            "A crack in the upper corner of {s} has been repaired twice.",
            "The frame of {s} is older than the picture itself.",
            "Art students are often asked to copy {s}.",
            "An early sketch for {s} turned up at an auction.",
        ),
    ),
    Kind(
        "university",
        4,
        ("{n} University",),
        "{t}",
        "{n}",
        ("It",),
        "universities",
        ("{t} is a university.", "{t} is a university with a large library."),
        (
            "The botanical garden of {s} is free to enter.",
            "Lectures at {s} traditionally start a quarter past the hour.",
            "The rowing crew of {s} trains all year round.",
            "A dome by unknown builders covers the main hall of {s}.",
        ),
    ),
    Kind(
        "club",
        5,
        ("{n} Rovers", "{n} Athletic", "{n} United"),
        "{t}",
        "{n}",
        ("It",),
        "clubs",
        ("{t} is a football club.", "{t} is a football club with a loyal following."),
        (
            "Supporters of {s} sing the same song before every match.",
            "The stadium of {s} has been enlarged twice.",
            "The youth teams of {s} play on the old ground.",
            "A long unbeaten run of {s} ended on a rainy evening.",
        ),
    ),
    Kind(
        "prize",
        4,
        ("{n} Prize", "{n} Medal"),
        "the {t}",
        "",
        ("It",),
        "prizes",
        ("The {t} is an award.", "The {t} is an award given once a year."),
        (
            "Winners of {s} receive a small bronze figure.",
            "The jury of {s} meets behind closed doors.",
            "The ceremony of {s} is broadcast on the radio.",
            "No one may win {s} twice.",
        ),
    ),
    Kind(
        "festival",
        3,
        ("{n} Boat Week", "{n} Lantern Days", "{n} Book Fair"),
        "the {t}",
        "",
        ("It",),
        "festivals",
        ("The {t} is a festival.", "The {t} is a festival that draws large crowds."),
        (
            "Volunteers run most of the stalls of {s}.",
            "A parade closes {s} on its last evening.",
            "Tickets for {s} are drawn by lot.",
            "The posters of {s} are designed by schoolchildren.",
        ),
    ),
    Kind(
        "museum",
        3,
        ("{n} Museum", "{n} Gallery"),
        "the {t}",
        "the {n}",
        ("It",),
        "museums",
        ("The {t} is a museum.", "The {t} is a museum on four floors."),
        (
            "The café of {s} overlooks a courtyard.",
            "A flood once reached the cellars of {s}.",
            "School classes visit {s} free of charge.",
            "Only a tenth of the holdings of {s} is on show.",
        ),
    ),
)

VALUES: Mapping[str, Sequence[str] | range] = {
    "trade": (
        "weaver", "cartographer", "locksmith", "beekeeper", "glassblower", "typesetter", "saddler",
        "botanist", "surveyor", "clockmaker", "potter", "midwife", "stonemason", "translator",
        "organist", "bookbinder", "shipwright", "pharmacist", "archivist", "engraver", "baker",
        "astronomer", "tailor", "carpenter", "geologist", "cooper", "furrier", "milliner",
        "goldsmith", "blacksmith", "gardener", "optician", "veterinarian", "draughtsman", "chemist",
        "lacemaker", "falconer", "thatcher", "brewer", "cheesemaker",
    ),
    "instrument": (
        "cello", "oboe", "harpsichord", "trombone", "zither", "clarinet", "bassoon", "harp",
        "accordion", "viola", "mandolin", "tuba", "piccolo", "lute", "banjo", "xylophone",
        "hurdy-gurdy", "flugelhorn", "double bass", "bagpipes",
    ),
    "flower": (
        "gentian", "foxglove", "cornflower", "edelweiss", "marigold", "bluebell", "primrose",
        "thistle", "snowdrop", "anemone", "columbine", "lupin", "peony", "saxifrage", "cowslip",
        "larkspur",
    ),
    "export": (
        "copper", "wool", "timber", "graphite", "barley", "amber", "hops", "saffron", "marble",
        "linen", "flax", "quartz", "honey", "tin", "resin", "sulphur",
    ),
    "product": (
        "bicycles", "umbrellas", "typewriters", "pianos", "enamel pots", "fishing nets", "lenses",
        "sewing machines", "paper bags", "roof tiles", "tents", "door handles", "thermometers",
        "kites", "wheelchairs", "soap", "pencils", "lampshades", "saddles", "wallpaper", "buttons",
        "chess sets", "weighing scales", "rubber boots",
    ),
    "genre": (
        "satire", "ghost story", "family saga", "detective story", "travelogue", "fable", "romance",
        "sea adventure", "spy thriller", "courtroom drama", "pastoral", "tragedy",
    ),
    "medium": (
        "oil", "tempera", "watercolour", "gouache", "pastel", "acrylic", "ink", "encaustic",
        "charcoal", "casein",
    ),
    "mascot": (
        "badger", "heron", "otter", "lynx", "hedgehog", "raven", "tortoise", "stoat", "moose",
        "pelican", "walrus", "gecko", "ibex", "osprey", "bison", "puffin",
    ),
    "colours": (
        "green and white", "red and black", "blue and gold", "maroon and grey", "orange and navy",
        "purple and silver", "yellow and black", "sky blue and white", "pink and brown",
        "black and white", "red and yellow", "turquoise and orange",
    ),
    "field": (
        "medicine", "poetry", "architecture", "journalism", "engineering", "choral music",
        "geography", "mathematics", "pottery", "public health", "dance", "photography",
        "agriculture", "linguistics",
    ),
    "month": (
        "January", "February", "March", "April", "May", "June", "July", "August", "September",
        "October", "November", "December",
    ),
    "birth year": range(1925, 1965),
    "recent year": range(1985, 2020),
    "older year": range(1850, 1930),
    "old year": range(1400, 1850),
    "length": range(85, 1005, 5),
    "height": range(1210, 4810, 10),
}  # fmt: skip
UNITS: Mapping[str, tuple[str, str]] = {"length": ("kilometres", "km"), "height": ("metres", "m")}
"""Of the numbers that are no years."""

RELATIONS: tuple[Relation, ...] = (
    # ---- people
    Relation(
        "person", "trade", "trade",
        ("{s} trained as {a}.", "{s} first learned the trade of {a}."), "What did {s} train as?",
    ),
    Relation(
        "person", "born", "birth year",
        ("{s} was born in {o}.", "The birth of {s} dates from {o}."),
        "In which year was {s} born?",
        order=("person was born earlier", "person was born later"), event="the birth of {s}",
    ),
    Relation(
        "person", "home", "city",
        ("{s} grew up in {o}.", "The childhood of {s} was spent in {o}."),
        "In which city did {s} grow up?", "the childhood city of {s}",
        many="people grew up in {o}",
    ),
    Relation(
        "person", "employer", "company",
        ("{s} works for {o}.", "{s} is employed by {o}.", "For a living {s} works at {o}."),
        "Which company does {s} work for?", "the employer of {s}", mutable=True,
        many="people work for {o}",
    ),
    Relation(
        "person", "school", "university",
        ("{s} studied at {o}.", "{s} holds a degree from {o}."),
        "At which university did {s} study?", "the university attended by {s}",
    ),
    Relation(
        "person", "collaborator", "person",
        ("{s} has {o} as closest collaborator.", "The closest collaborator of {s} is {o}."),
        "Who is the closest collaborator of {s}?", "the closest collaborator of {s}",
    ),
    Relation(
        "person", "instrument", "instrument",
        ("{s} plays the {o}.", "In the evenings {s} likes to play the {o}."),
        "Which instrument does {s} play?",
    ),
    # ---- places
    Relation(
        "city", "region", "region",
        ("{s} lies in {o}.", "{s} belongs to the region of {o}."),
        "In which region does {s} lie?", "the region containing {s}", many="cities lie in {o}",
    ),
    Relation(
        "city", "river", "river",
        ("{s} stands on the banks of {o}.", "The river that flows through {s} is {o}."),
        "On which river does {s} stand?", "the river flowing through {s}",
        many="cities stand on the banks of {o}",
    ),
    Relation(
        "city", "mayor", "person",
        ("{s} is governed by {o}, its mayor.", "The mayor of {s} is {o}."),
        "Who is the mayor of {s}?", "the mayor of {s}", mutable=True,
    ),
    Relation(
        "city", "charter", "old year",
        ("{s} received its charter in {o}.", "The charter of {s} was granted in {o}."),
        "In which year did {s} receive its charter?",
        order=("city received its charter earlier", "city received its charter later"),
        event="the granting of the charter of {s}",
    ),
    Relation(
        "region", "governor", "person",
        ("{s} has {o} as its governor.", "The governor of {s} is {o}."),
        "Who is the governor of {s}?", "the governor of {s}", mutable=True,
    ),
    Relation(
        "region", "flower", "flower",
        ("{s} has the {o} as its official flower.", "The official flower of {s} is the {o}."),
        "What is the official flower of {s}?",
    ),
    Relation(
        "region", "export", "export",
        ("{s} exports {o} above all.", "The main export of {s} is {o}."),
        "What is the main export of {s}?",
    ),
    Relation(
        "river", "source", "mountain",
        ("{s} rises on {o}.", "The source of {s} is on {o}."),
        "On which mountain does {s} rise?", "the mountain at the source of {s}",
        many="rivers rise on {o}",
    ),
    Relation(
        "river", "length", "length",
        ("{s} is {o} long.", "The length of {s} is {o}."), "How long is {s}?",
        order=("river is shorter", "river is longer"),
    ),
    Relation(
        "mountain", "region", "region",
        ("{s} stands in {o}.", "{s} can be found in the region of {o}."),
        "In which region does {s} stand?", "the region around {s}",
        many="mountains stand in {o}",
    ),
    Relation(
        "mountain", "climber", "person",
        ("{s} was first climbed by {o}.", "The first to reach the top of {s} was {o}."),
        "Who first climbed {s}?", "the first person to climb {s}",
    ),
    Relation(
        "mountain", "height", "height",
        ("{s} is {o} high.", "The height of {s} is {o}."), "How high is {s}?",
        order=("mountain is lower", "mountain is higher"),
    ),
    # ---- companies and works
    Relation(
        "company", "founder", "person",
        ("{s} was founded by {o}.", "The founder of {s} is {o}."),
        "Who founded {s}?", "the founder of {s}", many="companies were founded by {o}",
    ),
    Relation(
        "company", "seat", "city",
        ("{s} has its headquarters in {o}.", "The headquarters of {s} are in {o}."),
        "In which city does {s} have its headquarters?", "the city with the headquarters of {s}",
        mutable=True, many="companies have their headquarters in {o}",
    ),
    Relation(
        "company", "founded", "recent year",
        ("{s} was established in {o}.", "{s} dates back to {o}."),
        "In which year was {s} established?",
        order=("company was established earlier", "company was established later"),
        event="the establishment of {s}",
    ),
    Relation(
        "company", "product", "product",
        ("{s} makes {o}.", "{s} is best known for its {o}."), "What does {s} make?",
    ),
    Relation(
        "novel", "author", "person",
        ("{s} was written by {o}.", "The author of {s} is {o}."),
        "Who wrote {s}?", "the author of {s}", many="novels were written by {o}",
    ),
    Relation(
        "novel", "setting", "city",
        ("{s} is set in {o}.", "The story of {s} takes place in {o}."),
        "In which city is {s} set?", "the setting of {s}", many="novels are set in {o}",
    ),
    Relation(
        "novel", "published", "recent year",
        ("{s} was published in {o}.", "The first edition of {s} appeared in {o}."),
        "In which year was {s} published?",
        order=("novel was published earlier", "novel was published later"),
        event="the publication of {s}",
    ),
    Relation(
        "novel", "genre", "genre",
        ("{s} is usually read as {a}.", "Booksellers shelve {s} as {a}."),
        "What kind of book is {s} usually read as?",
    ),
    Relation(
        "film", "director", "person",
        ("{s} was directed by {o}.", "The director of {s} is {o}."),
        "Who directed {s}?", "the director of {s}", many="films were directed by {o}",
    ),
    Relation(
        "film", "source", "novel",
        ("{s} is based on {o}.", "The plot of {s} comes from {o}."),
        "On which novel is {s} based?", "the novel behind {s}",
        many="films are based on {o}",
    ),
    Relation(
        "film", "location", "city",
        ("{s} was shot in {o}.", "The outdoor scenes of {s} were filmed in {o}."),
        "In which city was {s} shot?", "the filming location of {s}",
        many="films were shot in {o}",
    ),
    Relation(
        "film", "composer", "person",
        ("{s} has music by {o}.", "The composer of the music for {s} is {o}."),
        "Who composed the music for {s}?", "the composer for {s}",
    ),
    Relation(
        "film", "released", "recent year",
        ("{s} was released in {o}.", "{s} came to the cinemas in {o}."),
        "In which year was {s} released?",
        order=("film was released earlier", "film was released later"), event="the release of {s}",
    ),
    Relation(
        "painting", "painter", "person",
        ("{s} was painted by {o}.", "The painter of {s} is {o}."),
        "Who painted {s}?", "the painter of {s}",
    ),
    Relation(
        "painting", "museum", "museum",
        ("{s} hangs in {o}.", "{s} can be seen in {o}."),
        "In which museum does {s} hang?", "the museum that shows {s}", many="paintings hang in {o}",
    ),
    Relation(
        "painting", "medium", "medium",
        ("{s} was done in {o}.", "The medium of {s} is {o}."), "In which medium was {s} done?",
    ),
    Relation(
        "painting", "finished", "recent year",
        ("{s} was finished in {o}.", "The last touches were put to {s} in {o}."),
        "In which year was {s} finished?",
        order=("painting was finished earlier", "painting was finished later"),
        event="the completion of {s}",
    ),
    # ---- institutions
    Relation(
        "university", "city", "city",
        ("{s} has its campus in {o}.", "The campus of {s} is in {o}."),
        "In which city is the campus of {s}?", "the city with the campus of {s}",
    ),
    Relation(
        "university", "rector", "person",
        ("{s} is headed by {o}.", "The rector of {s} is {o}."),
        "Who is the rector of {s}?", "the rector of {s}", mutable=True,
    ),
    Relation(
        "university", "founded", "old year",
        ("{s} was opened in {o}.", "The first students came to {s} in {o}."),
        "In which year was {s} opened?",
        order=("university was opened earlier", "university was opened later"),
        event="the opening of {s}",
    ),
    Relation(
        "university", "mascot", "mascot",
        ("{s} has {a} for a mascot.", "The mascot of {s} is {a}."), "What is the mascot of {s}?",
    ),
    Relation(
        "club", "city", "city",
        ("{s} plays its home matches in {o}.", "The home ground of {s} is in {o}."),
        "In which city does {s} play its home matches?", "the home city of {s}",
        many="clubs play their home matches in {o}",
    ),
    Relation(
        "club", "coach", "person",
        ("{s} is coached by {o}.", "The coach of {s} is {o}."),
        "Who is the coach of {s}?", "the coach of {s}", mutable=True,
    ),
    Relation(
        "club", "sponsor", "company",
        ("{s} has {o} as its main sponsor.", "The shirts of {s} carry the name of {o}."),
        "Which company is the main sponsor of {s}?", "the main sponsor of {s}", mutable=True,
    ),
    Relation(
        "club", "colours", "colours",
        ("{s} plays in {o}.", "The colours of {s} are {o}."), "What are the colours of {s}?",
    ),
    Relation(
        "prize", "sponsor", "company",
        ("{s} is paid for by {o}.", "The money for {s} comes from {o}."),
        "Which company pays for {s}?", "the sponsor of {s}", mutable=True,
        many="awards are paid for by {o}",
    ),
    Relation(
        "prize", "winner", "person",
        ("{s} was last won by {o}.", "The latest winner of {s} is {o}."),
        "Who is the latest winner of {s}?", "the latest winner of {s}", mutable=True,
    ),
    Relation(
        "prize", "field", "field",
        ("{s} honours work in {o}.", "{s} is given for achievements in {o}."),
        "In which field is {s} given?",
    ),
    Relation(
        "prize", "first", "older year",
        ("{s} was first awarded in {o}.", "The first winner of {s} was honoured in {o}."),
        "In which year was {s} first awarded?",
        order=("award was first given earlier", "award was first given later"),
        event="the first awarding of {s}",
    ),
    Relation(
        "festival", "city", "city",
        ("{s} is held in {o}.", "The city that hosts {s} is {o}."),
        "Which city hosts {s}?", "the city that hosts {s}", many="festivals are held in {o}",
    ),
    Relation(
        "festival", "director", "person",
        ("{s} is organised by {o}.", "The organiser of {s} is {o}."),
        "Who organises {s}?", "the organiser of {s}", mutable=True,
    ),
    Relation(
        "festival", "month", "month",
        ("{s} takes place every {o}.", "The dates of {s} fall in {o}."),
        "In which month does {s} take place?",
    ),
    Relation(
        "museum", "city", "city",
        ("{s} is situated in {o}.", "The address of {s} is in the centre of {o}."),
        "In which city is {s} situated?", "the city around {s}",
        many="museums are situated in {o}",
    ),
    Relation(
        "museum", "architect", "person",
        ("{s} was designed by {o}.", "The architect of {s} is {o}."),
        "Who designed {s}?", "the architect of {s}",
    ),
)  # fmt: skip

OF_KIND: Mapping[str, tuple[int, ...]] = {
    kind.name: tuple(i for i, each in enumerate(RELATIONS) if each.subject == kind.name)
    for kind in KINDS
}
"""Places of a kind's relations in `RELATIONS`."""
