"""Letters of other scripts that look like a Latin letter.

The table is from the confusables of Unicode Technical Standard 39 (https://www.unicode.org/Public/security/, Unicode licence). It has single
letters of the scripts that attacks use, if their prototype is an ASCII letter (I for a capital with the prototype l). It has Latin letters
only if no language uses them: the dotless i is Turkish and the open e is Ewe, so both are left out. Full-width and mathematical letters are
left out too, since Unicode decomposes them.
"""

_PAIRS = {
    "Armenian": (
        "\u054d\u054f\u0555\u0561\u0563\u0566\u0570\u0578\u057c\u057d\u0581\u0584\u0585",
        "USOwqqhnnugfo",
    ),
    "Cherokee": (
        (
            "\u13a0\u13a1\u13a2\u13a5\u13a9\u13aa\u13ab\u13ac\u13b3\u13b7\u13bb\u13bd\u13c0\u13c2\u13c3\u13cf"
            "\u13d2\u13d4\u13d5\u13d9\u13da\u13de\u13df\u13e2\u13e6\u13e7\u13f3\u13f4\uab75\uab81\uab83\uab93"
            "\uaba9\uabaa\uabaf"
        ),
        "DRTiYAJEWMHYGhZbRWSVSLCPKdGBirwzvsc",
    ),
    "Coptic": (
        "\u2c85\u2c8e\u2c92\u2c94\u2c98\u2c9a\u2c9e\u2c9f\u2ca2\u2ca3\u2ca4\u2ca5\u2ca6\u2ca8\u2cac\u2cd0",
        "rHIKMNOoPpCcTYXL",
    ),
    "Cyrillic": (
        (
            "\u0405\u0406\u0408\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0423\u0425\u042c"
            "\u0430\u0433\u0435\u043e\u0440\u0441\u0443\u0445\u0455\u0456\u0458\u0461\u0474\u0475\u04ae\u04af"
            "\u04bb\u04bd\u04c0\u04cf\u0501\u050c\u051b\u051c\u051d\ua647"
        ),
        "SIJABEKMHOPCTYXbareopcyxsijwVvYyheIidGqWwi",
    ),
    "Greek": (
        (
            "\u037f\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7\u03b1"
            "\u03b3\u03b9\u03bd\u03bf\u03c1\u03c3\u03c5\u03dc\u03f3\u03fa\u1d26\u1fbe"
        ),
        "JABEZHIKMNOPTYXayivopouFjMri",
    ),
    "Latin": (
        "\u0251\u0261\u1d04\u1d0f\u1d1c\u1d20\u1d21\u1d22\ua731",
        "agcouvwzs",
    ),
    "Lisu": (
        (
            "\ua4d0\ua4d1\ua4d2\ua4d3\ua4d4\ua4d6\ua4d7\ua4d9\ua4da\ua4dc\ua4dd\ua4df\ua4e0\ua4e1\ua4e2\ua4e3"
            "\ua4e6\ua4e7\ua4ea\ua4eb\ua4ec\ua4ee\ua4f0\ua4f2\ua4f3\ua4f4"
        ),
        "BPdDTGKJCZFMNLSRVHWXYAElOU",
    ),
}

LOOKALIKES: dict[str, str] = {
    letter: latin for letters, latins in _PAIRS.values() for letter, latin in zip(letters, latins, strict=True)
}
"""The Latin letter that each foreign letter looks like."""

SCRIPT_OF: dict[str, str] = {letter: script for script, (letters, _) in _PAIRS.items() for letter in letters}
"""The script of each foreign letter, by its Unicode name."""
