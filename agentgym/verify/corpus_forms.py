"""Ways of writing answers: which of them say something else, and which do not.

One line for each thing that a normalisation once got wrong: first the reference, then what differs
from it, then what is the same. See `agentgym.verify.corpus` for what a case is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from agentgym.types import Task
from agentgym.verify.corpus import EQUIVALENT, Case


class Form(NamedTuple):
    """An answer, and how else it may be written."""

    answer: str
    wrong: tuple[str, ...] = ()
    """Something else, however close it looks."""
    right: tuple[str, ...] = ()


TEXT_FORMS = (
    # Points in versions, numbers and names.
    Form("v1.2", ("v12", "v1 2", "v.12"), ("V1.2", "v1.2.")),
    Form("Python3.11", ("Python311", "Python3 11", "Python 3.11")),
    Form("p0.05", ("p005", "p0 05", "p05")),
    Form("Q1.10", ("Q11.0", "Q110", "Q1.1")),
    Form("x1.5", ("x15", "x1 5")),
    Form("google.com", ("googlecom", "google com"), ("Google.com",)),
    Form(".NET", ("NET",), (".net",)),
    Form("a.b.com", ("ab com", "abcom")),
    Form("0.3...", ("0.3", "0.33"), ("0.3…",)),
    Form("Dr. No", ("No",), ("Dr No", "dr. no")),
    Form("p.m.", ("p", "m"), ("pm", "P.M.", "p. m.")),
    # Units, primes and quotes.
    Form("5‰", ("5", "5%", "0.5"), ("5 ‰",)),
    Form("5″", ("5", "5′", "5″ 5″"), ('5"', "5”")),
    Form('12"', ("12'", "12"), ("12”", "12″")),
    Form("5'10\"", ("5 10", "510", "5'10'"), ("5′10″", "5’10”")),
    Form("20 °C", ("20", "20 °F", "-20 °C"), ("20°C", "20 ℃", "20 °c.")),
    Form("$5", ("5", "€5", "$-5"), ("$ 5",)),
    Form("50%", ("50", "50 50%", "5%"), ("50 %", "５０％")),
    Form('the "Big Apple"', ("the big", "apple"), ("The Big Apple", "the “Big Apple”")),
    Form("we're", ("were", "we", "we re"), ("We’re", "we're.")),
    Form("f'(x)", ("f(x)", "f''(x)", "f x"), ("f′(x)", "f’( x )")),
    Form("f''(x) = g''(x)", ("f'(x) = g'(x)", "f(x) = g(x)"), ("f''(x)=g''(x)",)),
    # Signs and operators.
    Form("e^-x", ("e^x", "e-x", "e^ x"), ("e^−x", "e ^ -x", "E^-X")),
    Form("(-x)", ("x", "(x)"), ("-x", "( -x )", "−x")),
    Form("!p", ("p", "p!"), ("! p",)),
    Form("!p || q", ("p || q", "!p q", "p q", "!p && q"), ("!p||q",)),
    Form("x-5", ("x 5", "x5", "x -5", "5-x", "x+5"), ("x - 5", "x−5")),
    Form("x - y", ("x y", "xy", "y - x"), ("x-y", "x – y")),
    Form("6 / 2", ("6 2", "62", "6-2", "2 / 6"), ("6/2", "6 ∕ 2")),
    Form("6 - 2", ("6 2", "6 -2", "62", "6 + 2"), ("6-2", "6 − 2")),
    Form("2**3", ("2 3", "2*3", "23", "2^3"), ("2 ** 3",)),
    Form("x**2", ("x*2", "x 2", "x2"), ("x ** 2",)),
    Form("2*3*4", ("2 3 4", "234", "2*34"), ("2 * 3 * 4",)),
    Form("x^2", ("x 2", "x2", "2x"), ("x ^ 2", "x²")),
    Form("3/4", ("3 4", "34", "4/3"), ("3 / 4", "¾", "3⁄4")),
    Form("n!", ("n", "!n", "n!!"), ("N!",)),
    Form("3:4", ("3 4", "34", "4:3"), ("3 : 4", "3：4")),
    Form("x ≤ 5", ("x 5", "x < 5", "x ≥ 5"), ("x≤5",)),
    Form("a·b", ("a b", "ab")),
    Form("⌈x⌉", ("x", "⌊x⌋")),
    Form("±5", ("5", "-5"), ("± 5",)),
    Form("§5", ("5",), ("§ 5",)),
    Form("kg/ml", ("kg ml", "kgml")),
    Form("log-2", ("log 2", "log2"), ("log−2",)),
    Form("__init__", ("init",)),
    Form("C++", ("C", "C+", "C+ +C"), ("C ++", "“C++”")),
    Form("revenue - costs", ("revenue costs", "costs - revenue"), ("revenue − costs",)),
    # Brackets and lists.
    Form("[0,1]", ("(0,1)", "[0,1)", "0,1", "[01]"), ("[0, 1]", "[ 0, 1 ]")),
    Form("[0,1)", ("(0,1]", "[0,1]", "(0,1)"), ("[0, 1)",)),
    Form("(1, 2)", ("1, 2", "[1, 2]", "(12)", "(2, 1)"), ("(1,2)", "( 1, 2 )")),
    Form("1, 2, 3", ("123", "3, 2, 1", "1, 2", "1,23"), ("1,2,3", "1 , 2 , 3")),
    Form("5, -3", ("5-3", "5 - 3", "5, 3", "53"), ("5,-3", "5, −3")),
    Form("A, B, C", ("B, C", "A, B", "ABC", "C, B, A"), ("A,B,C", "a, b, c")),
    # Articles that are letters, and letters that are not.
    Form("A to Z", ("to Z", "Z", "A Z", "the to Z"), ("A to Z.", "a to z")),
    Form("A or B", ("or B", "B", "A")),
    Form("the A Team", ("team", "the team"), ("The A Team",)),
    Form("an apple", ("the", "an"), ("apple", "An apple.", "Apple")),
    Form("the 1990s", ("1990", "the"), ("1990s",)),
    # Commas, hyphens and initials of prose.
    Form("July 4, 1776", ("July 41776", "4 1776", "July 4", "July 1776"), ("July 4 1776",)),
    Form("London, England", ("London", "England, London"), ("London England",)),
    Form("twenty-one", ("twenty", "twentyone", "one twenty"), ("twenty one", "Twenty‐one")),
    Form("Yahoo!", ("Yaho",), ("Yahoo", "YAHOO!")),
    # Two that nobody can tell from something else: refused, and among the 2 % that may be.
    Form("J.K. Rowling", ("J. Rowling", "Rowling"), ("J. K. Rowling", "JK Rowling", "J K Rowling")),
    Form("e-mail", ("mail", "e"), ("E-mail", "e‑mail", "email")),
)
"""Names, phrases and short formulas."""

GRADED_FORMS = (
    Form("guilty", ("not guilty", "guilty not guilty")),
    Form("not guilty", ("guilty not", "guilty", "not not guilty")),
    Form("man bites dog", ("dog bites man", "dog bites man dog", "man bites man bites dog")),
    Form(
        "the jury found the defendant not guilty of all charges",
        ("the jury found the defendant guilty of all charges",
         "the jury found the defendant not guilty of no charges",
         "the defendant found the jury not guilty of all charges"),
    ),
    Form("Paris", ("London Paris Rome Berlin", "Paris London", "not Paris", "Paris Paris")),
)  # fmt: skip
"""Most of the right words, and the wrong answer."""

NUMBER_FORMS = (
    # A whole number stays whole in any unit.
    Form("1048577 bytes", ("1 MiB", "1048576 bytes"), ("1048577 B", "8388616 bits")),
    Form("1000001 m", ("1000 km", "1e6 m", "1000.0010001 km"), ("1000.001 km",)),
    Form("1000001 ms", ("1000 s",), ("1000.001 s",)),
    Form("1000001 s", ("277.7777778 h", "277.777 h"), ("277.7780556 h",)),
    Form("1000001 cents", ("$10000", "10000 USD"), ("$10000.01", "10000.01 dollars")),
    Form("100 m", ("0.1000000001 km", "99.9999999 m"), ("0.1 km", "10000 cm", "328.0839895 ft")),
    Form("2 h", ("7201 s", "2.0000001 h"), ("120 min", "7200 s")),
    # Units that are not known have their own names.
    Form("5 bus", ("5 b", "5 buses")),
    Form("5 gas", ("5 ga", "5 g")),
    Form("5 glass", ("5 glas", "5 glasses")),
    Form("5 cats", ("5 cars", "5 dogs"), ("5 cat", "5 Cats")),
    # What may be something else.
    Form("5 °C", ("5 C", "5 °F", "5", "5 K"), ("5°C", "5 ℃", "5 celsius")),
    Form("1.0", ("1.0000001", "0.9999999"), ("1", "1.00")),
    # Signs, money and powers.
    Form("-$5", ("$5", "-$-5", "$--5", "-5", "($-5", "€-5"), ("$-5", "−$5", "-5 USD", "USD -5")),
    Form("$5", ("$-5", "USD -5", "EUR 5", "USD 5 km"), ("USD 5", "5 USD", "$ 5", "USD 5.00")),
    Form("5 m^2", ("5 m", "52 m", "5 m^3", "5 m 2"), ("5 m2", "5 m²", "0.0005 ha")),
    Form("5 cm^3", ("5 cm", "5 cm^2"), ("5 cm3", "5 cm³")),
    # Wrapped as a whole.
    Form("5", ("**5", "5**", '5"', "'5", "*5**", "**5** **6**", '"5" "600"', "5'", "(-5)"),
         ("**5**", '"5"', "'5'", "`5`", "“5”", "*5*", "**5.**", '"5".')),
    Form("5600", ('"5" "600"', "**5** 600"), ("**5,600**", '"5 600"')),
    Form("-5", ("(5)", "$-5"), ("**-5**", "'−5'")),
)  # fmt: skip
"""Numbers, with and without units."""


def text_forms() -> Iterator[Case]:
    """Cases of `TEXT_FORMS` and `GRADED_FORMS`."""
    return _cases((*TEXT_FORMS, *GRADED_FORMS))


def number_forms() -> Iterator[Case]:
    """Cases of `NUMBER_FORMS`."""
    return _cases(NUMBER_FORMS)


def _cases(forms: tuple[Form, ...]) -> Iterator[Case]:
    for form in forms:
        task = Task(f"Write {form.answer}", data={"answers": [form.answer]})
        for answer in form.wrong:
            yield Case("other form", task, {"answer": answer})
        for answer in (form.answer, *form.right):
            yield Case(EQUIVALENT, task, {"answer": answer})
