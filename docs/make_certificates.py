"""Run the examples of docs/certificates.md and draw them: python docs/make_certificates.py.

Needs matplotlib. Prints what the examples print, and writes certificate-*.png beside itself.
"""

import re
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def main() -> None:
    """Run each section's example, and draw its certificate where the section shows a picture."""
    page = (HERE / "certificates.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for section in page.split("\n## ")[1:]:
        example = re.search(r"^```python\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL)
        picture = re.search(r"\((certificate-.*\.png)\)", section)
        if example:
            exec(example[1], names)
        if picture:
            names["cert"].plot(HERE / picture[1])


if __name__ == "__main__":
    main()
