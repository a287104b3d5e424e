"""The paper that printed a slice, from the names of COVID-CT's and LA-DNN's image files."""

import re

_PATTERNS = tuple(
    (re.compile(pattern), paper)
    for pattern, paper in (
        # COVID-CT: medRxiv and bioRxiv preprints by date and number
        (r"^(20\d\d\.\d\d\.\d\d\.\d{6,8})-", r"10.1101/\1"),
        (r"^kjr-21-e24-", "10.3348/kjr.2020.0132"),
        (r"^kjr-21-e25-", "10.3348/kjr.2020.0112"),
        # LA-DNN's later images: DOIs whose slash is left out or turned into a point
        (r"(?:^|_)10\.1148\.?(ryct|radiol)\.(\d+)[-_]", r"10.1148/\1.\2"),
        (r"(?:^|_)10\.1016\.?j\.ijid\.(\d{4}\.\d\d\.\d{3})[-_]", r"10.1016/j.ijid.\1"),
        (r"^10\.3906\.sag\.(\d+)\.(\d+)-", r"10.3906/sag-\1-\2"),
        (r"^jkms-(35)-(e\d+)-", r"10.3346/jkms.2020.\1.\2"),
        (r"^1-s2\.0-(S\d{16})-", r"PII \1"),
    )
)


def paper_of(file_name: str) -> str | None:
    """The DOI, or the publisher's item number, of the paper that a file is named after, None for no paper."""
    for pattern, paper in _PATTERNS:
        if match := pattern.search(file_name):
            return match.expand(paper)
    return None
