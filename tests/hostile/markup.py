"""Texts of a stranger that would run, ask for something or break a page if a page took them for more than text."""

HOSTILE = (
    "<script>alert('title')</script>",
    "\"><img src=x onerror=alert('image')>",
    "</title></textarea></style><svg onload=alert('svg')><script>alert('svg')</script></svg>",
    "javascript:alert('link')",
    "\u202egnp.exe\u2066 invoice\u200b",
    "'-alert('quote')-'\" onmouseover=\"alert('attribute')\" autofocus onfocus=\"alert('focus')",
    "{{ 7 * 7 }} ${7*7} {% raw %} <%= 7 %>",
    "<base href=//stranger.example/><meta http-equiv=refresh content='0;url=//stranger.example/'>",
    "<style>*{display:none}</style><link rel=stylesheet href=//stranger.example/a.css>",
    "<form action=//stranger.example/><button name=tag value=pwned>1</button></form><iframe src=//stranger.example/>",
    "[link](javascript:alert('markdown)) ![image](//stranger.example/pixel.png) <!-- ]]> --!>",
    "null\x00byte and \x1b[31mcolour",
    "Z" + "\u0351\u0363\u0304" * 60 + "algo",
    "W" * 700,
    "\u0645\u0631\u062d\u0628\u0627 <b dir=rtl>\u0628\u0643",
    "&lt;script&gt;alert(1)&lt;/script&gt;&#0;&bogus;",
)

# Elements of the page that a stranger's text has made, or whose attributes it has made.
FOREIGN = """() => [...document.querySelectorAll("*")].filter((one) =>
  ["IMG", "IFRAME", "BASE", "STYLE", "OBJECT", "EMBED"].includes(one.tagName)
  || (one.tagName === "SCRIPT" && !one.src.startsWith(location.origin))
  || (one.tagName === "LINK" && !one.href.startsWith(location.origin) && !one.href.startsWith("data:"))
  || (one.tagName === "META" && one.httpEquiv)
  || (one.tagName === "FORM" && !one.action.startsWith(location.origin) && one.method !== "dialog")
  || (one.tagName === "A" && !/^https?:$/.test(one.protocol))
  || [...one.attributes].some((attribute) => /^on/i.test(attribute.name))
).map((one) => one.outerHTML.slice(0, 300))"""
