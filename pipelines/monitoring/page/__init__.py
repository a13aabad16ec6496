"""One endpoint on one self-contained HTML page: no script, no address, inline SVG, every picture with its numbers.

:mod:`.model` holds what is shown, :mod:`.axes` and :mod:`.charts` draw, :mod:`.html` writes; all pure. Whatever comes
from outside (names, subjects, reasons, features) passes :func:`.html.text` and is never markup.
"""
