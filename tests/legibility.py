"""The legibility of a page, for the tests of every page: the sizes it is seen at, both modes, and the contrast of its text."""

SIZES = {"wide": (1440, 900), "narrow": (390, 844)}
SCHEMES = ("light", "dark")
# Ratio of two luminances below which text is hard to read (WCAG AA).
LEAST_CONTRAST = 4.5

# Every element with text of its own: the text, and its contrast with the nearest background behind it.
CONTRASTS = """() => {
  const light = (color) => {
    const [r, g, b] = color.match(/[\\d.]+/g).map(Number).slice(0, 3)
      .map((one) => one / 255).map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const color = getComputedStyle(one).backgroundColor;
      if (!color.endsWith(", 0)") && color !== "transparent") return color;
    }
    return "rgb(255, 255, 255)";
  };
  return [...document.querySelectorAll("body *")]
    .filter((one) => [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim()))
    .filter((one) => !["SCRIPT", "STYLE", "NOSCRIPT"].includes(one.tagName) && one.getClientRects().length)
    .map((one) => {
      const style = getComputedStyle(one);
      const [high, low] = [light(one instanceof SVGElement ? style.fill : style.color), light(behind(one))].sort((a, b) => b - a);
      return [one.textContent.trim(), (high + 0.05) / (low + 0.05)];
    });
}"""
