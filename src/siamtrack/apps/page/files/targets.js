// The list of targets: a card for each, with its class, its state in the frame that is shown, and what can be done.

import { colourOf } from "./colours.js";

export class TargetList {
  #list;
  #names;
  #on;
  #run = null;
  #frame = 0;

  /**
   * `names` is the datalist of classes. `on` has select(number), rename(number, text), redraw(number),
   * end(number, frame), goOn(number, frame), follow(number, frame): from that frame to the one shown; remove(number).
   */
  constructor(list, names, on) {
    this.#list = list;
    this.#names = names;
    this.#on = on;
  }

  /** Offer classes to choose from. */
  offer(names) {
    const known = new Set([...this.#names.options].map(({ value }) => value));
    for (const name of new Set(names)) if (!known.has(name)) this.#names.append(new Option("", name));
  }

  show(run, frame, selected) {
    [this.#run, this.#frame] = [run, frame];
    const list = this.#list;
    for (const item of [...list.children]) if (!run.target(Number(item.dataset.number))) item.remove();
    run.targets.forEach((target, at) => {
      const { number } = target;
      const item = list.querySelector(`[data-number="${number}"]`) ?? this.#add(number, at);
      if (number === selected && !item.classList.contains("selected")) list.scrollTop = item.offsetTop;
      item.classList.toggle("selected", number === selected);
      item.querySelector(".name").setAttribute("aria-pressed", String(number === selected));
      const label = item.querySelector(".label");
      if (document.activeElement !== label) label.value = target.label;
      this.#tell(item, target);
    });
  }

  /** Its state in the frame that is shown, and the actions that this state has. */
  #tell(item, { number, rows, ends }) {
    const row = rows.get(this.#frame);
    const [why, other] = row ? ["here", this.#frame] : this.#run.absence(number, this.#frame);
    const ended = ends.has(other);
    item.classList.toggle("lost", row?.status === "lost");
    item.querySelector(".status").textContent = {
      here: ended ? "ends here" : row && state(row),
      begins: `begins in frame ${other}`,
      ended: `ended in frame ${other}`,
      behind: "not followed up to here",
    }[why];
    item.querySelector("meter").value = row?.presence ?? 0;
    const end = item.querySelector(".end");
    end.disabled = why === "begins" || why === "ended";
    write(end, why === "behind" ? `End in ${other}` : row && ended ? "Go on" : "End here", number);
    const follow = item.querySelector(".follow");
    follow.hidden = why !== "ended" && why !== "behind";
    write(follow, `Follow from frame ${other} to here`, number);
  }

  /** End a target here, or where it was last followed to; or take back that it ends here. */
  end(number) {
    const { rows, ends } = this.#run.target(number);
    const [why, other] = rows.has(this.#frame) ? ["here", this.#frame] : this.#run.absence(number, this.#frame);
    if (why === "here" && ends.has(other)) this.#on.goOn(number, other);
    else if (why === "here" || why === "behind") this.#on.end(number, other);
  }

  #add(number, at) {
    const item = document.createElement("li");
    item.className = "target";
    item.dataset.number = number;
    item.style.setProperty("--colour", colourOf(number));
    const name = button("name", () => this.#on.select(number));
    name.append(`Target ${number}`, Object.assign(document.createElement("span"), { className: "status" }));
    const scale = { min: 0, max: 1, low: 1 / 3, high: 2 / 3, optimum: 1 };
    const meter = Object.assign(document.createElement("meter"), scale);
    meter.setAttribute("aria-label", `Presence of target ${number}`);
    const follow = button("follow", () => this.#on.follow(number, this.#run.absence(number, this.#frame)[1]));
    const actions = Object.assign(document.createElement("div"), { className: "do" });
    const todo = [
      ["redraw", "Redraw", "Redraw in this frame (r)", () => this.#on.redraw(number)],
      ["end", "End here", "The last frame that it is in (e)", () => this.end(number)],
      ["remove", "Remove", "Remove it from all frames", () => this.#on.remove(number)],
    ];
    for (const [kind, word, title, act] of todo) {
      const made = button(kind, act);
      made.title = title;
      write(made, word, number);
      actions.append(made);
    }
    item.append(name, meter, this.#labelled(number), follow, actions);
    this.#list.insertBefore(item, this.#list.children[at] ?? null);
    return item;
  }

  #labelled(number) {
    const label = Object.assign(document.createElement("input"), { className: "label", maxLength: 100 });
    label.setAttribute("list", this.#names.id);
    label.setAttribute("aria-label", `Class of target ${number}`);
    label.autocomplete = "off";
    label.addEventListener("change", () => this.#on.rename(number, label.value));
    label.addEventListener("blur", () => (label.value = this.#run.target(number)?.label ?? ""));
    label.addEventListener("keydown", ({ key }) => key === "Enter" && label.blur());
    const field = Object.assign(document.createElement("label"), { className: "class", textContent: "Class" });
    field.append(label);
    return field;
  }
}

function state({ given, status, presence }) {
  return given ? "given" : `${status === "lost" ? "LOST" : status} · ${presence.toFixed(2)}`;
}

/** Write a word on a button, if it has another, and whose it is for screen readers. */
function write(made, word, number) {
  if (made.textContent === word) return;
  made.textContent = word;
  made.setAttribute("aria-label", `${word}: target ${number}`);
}

function button(kind, act) {
  const made = Object.assign(document.createElement("button"), { type: "button", className: kind });
  made.addEventListener("click", act);
  return made;
}
