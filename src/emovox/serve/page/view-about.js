// About: where recordings are, what colours mean, the model card, what it must not be used for.

import { h } from "./dom.js";
import { Looks } from "./emotions.js";
import { chip } from "./view-result.js";

const KEYS = [
  ["Tab", "from one thing to the next"],
  ["← →", "segment by segment, where the timeline has the focus"],
  ["Enter", "play the segment"],
  ["+ −", "show less or more time"],
  ["/", "find a recording"],
];

export class AboutView {
  /**
   * @param {import("./engine.js").Capabilities} about
   * @param {boolean} lasting Whether the browser keeps anything.
   */
  constructor(about, lasting) {
    const looks = new Looks(about.labels);
    const not = about.card.find((part) => part.title === "Not intended");
    this.element = h(
      "article.about",
      h("h1", "About"),
      h("section.card.warn", h("h2", "What an answer means"),
        h("p", "The label is the emotion that the voice ", h("em", "expresses"), ", as actors were asked to express it. It is not what the person feels. People smile when they are sad, and differ by culture, language, age, illness and habit. A model can be sure and wrong; where it is not sure enough, it says “don't know”, and its best guess is shown hatched."),
        h("h3", "It must not be used for"), h("ul", (not?.rows ?? []).map((row) => h("li", row[0]))),
        h("p", "In the European Union, inferring emotions of people at work or in education is prohibited (Regulation (EU) 2024/1689, Article 5(1)(f)), and other uses are high-risk.")),
      h("section.card", h("h2", "Where your recordings are"),
        about.place === "server"
          ? h("ul", h("li", "The server that this page came from judges them. It deletes the sound as soon as that is done, and results after a while. Nobody else is asked for anything."), h("li", lasting ? "This browser keeps sound and results until you delete them there, on the left." : "This browser keeps nothing: all is gone when you close the page."))
          : h("p", "They do not leave this browser: the model runs inside it. It keeps sound and results until you delete them.")),
      h("section.card", h("h2", "Signs"), h("ul.keys", about.labels.map((label) => h("li", chip(looks.get(label)), label)), h("li", chip(looks.get(""), true), "don't know"))),
      h("section.card", h("h2", `Model card: ${about.model}`), about.card.filter((part) => part !== not).map(part)),
      h("section.card", h("h2", "Keyboard"), h("dl.two", KEYS.map(([key, text]) => [h("dt", h("kbd", key)), h("dd", text)]))),
      h("p.quiet.small", `emovox ${about.version}`),
    );
  }

  close() {}
}

function part({ title, text, head, rows }) {
  const cells = (row) => row.map((value, place) => (place === 0 ? h("th", { scope: "row" }, value) : h("td", value)));
  return [
    h("h3", title),
    text.map((paragraph) => h("p", paragraph)),
    rows.length > 0 && h("div.scroll", { tabIndex: 0, role: "region", ariaLabel: title }, h("table.card-table", head.length > 0 && h("thead", h("tr", head.map((name) => h("th", { scope: "col" }, name)))), h("tbody", rows.map((row) => h("tr", cells(row)))))),
  ];
}
