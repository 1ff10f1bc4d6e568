/* How the search of the site orders what it has found. By itself it counts a page's best word alone, and puts the decisions first by their numbers.
   Here the words of the question that a heading has count, and a page to do something by stands above one that gives reasons. */
const PLACES = [["docs/decisions/", -12], ["CHANGELOG", -20], ["model_export/", -8], ["docs/architecture", -6], ["docs/runbooks/", -2]];
// Words that say nothing of what is asked for.
const FILL = new Set("a an and are can do does for from how i in is it my of on or the to what which with".split(" "));

function asked(query) {
  const words = query.toLowerCase().split(/[^\p{L}\p{N}]+/u).filter((word) => word && !FILL.has(word));
  // A word is compared by its beginning, so that "alarms" finds "alarm" and "installing" finds "install".
  return words.map((word) => word.replace(/(ing|ed|es|s)$/, ""));
}

var Scorer = {
  score: ([name, title, , , score]) => {
    const query = new URLSearchParams(window.location.search).get("q") || "";
    const heading = title.toLowerCase();
    const found = asked(query).filter((word) => heading.includes(word)).length;
    const place = PLACES.find(([beginning]) => name.startsWith(beginning));
    return score + 15 * found + (place ? place[1] : 0);
  },
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
