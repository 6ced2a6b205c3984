"""The search of the pages: ids of heads stay whole, and what one reads comes before what one looks up.

Sphinx cuts 20.0.0 into three numbers and drops numbers from a query; text of outputs it indexes as it does prose.
"""

import re

from sphinx.search import SearchEnglish

NUMBER = r"\d+(?:\.\d+)+"


class Words(SearchEnglish):
    """English, with dotted numbers as words."""

    _word_re = re.compile(rf"{NUMBER}|\w+")
    js_splitter_code = rf"""
var splitQuery = (query) => query.match(/{NUMBER}|[\p{{Letter}}\p{{Number}}_\p{{Emoji_Presentation}}]+/gu) || [];
"""


def setup(app) -> dict:
    app.add_search_language(Words)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
