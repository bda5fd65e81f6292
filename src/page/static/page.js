// The page works without this file. With it, times are told in the reader's zone besides, and what
// is shown stays up to date: by server-sent events, and where there are none, by asking again.
"use strict";
(() => {
  const body = document.body;
  const state = document.getElementById("live-state");
  const news = document.getElementById("live-news");

  // ---- times

  const local = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
  const tell = (within) => {
    for (const time of within.querySelectorAll("time[datetime]:not([title])")) {
      const at = new Date(time.dateTime);
      if (!Number.isNaN(at.valueOf())) time.title = local.format(at) + " here";
    }
  };
  tell(document);

  // ---- what is live on this page

  const regions = document.querySelectorAll("[data-live]");
  if (!state || regions.length === 0) return;
  const isWhole = body.dataset.rows === "all";
  const EVERY = 15000, SOON = 1500, LONGEST = 60000;
  let source = null, waiting = null, asking = false, again = false, refusals = 0, wasRefused = false, polling = null;
  const say = (text) => { if (state.textContent !== text) state.textContent = text; };

  // What forms carry is new in each answer, and no change.
  const bare = (text) => text.replace(/name="form_token" value="[0-9a-f]*"/g, "");

  // Replaces a part only where it changed, and never under the reader's hands.
  const replace = (fresh) => {
    for (const region of document.querySelectorAll("[data-live]")) {
      const next = fresh.getElementById(region.id);
      if (!next) continue;
      // The colour of the headline stands in it.
      region.className = next.className;
      const now = bare(next.innerHTML);
      if (now === region.dataset.was || now === bare(region.innerHTML)) continue;
      const focused = region.contains(document.activeElement) ? document.activeElement : null;
      if (focused && focused.matches("input, select, button")) continue;
      const mark = focused && (focused.id || focused.getAttribute("href"));
      const open = [...region.querySelectorAll("details[open]")].map((one) => one.id);
      region.replaceChildren(...document.adoptNode(next).childNodes);
      region.dataset.was = now;
      for (const id of open) { const one = id && document.getElementById(id); if (one) one.open = true; }
      if (mark) {
        const same = [...region.querySelectorAll("a, [id]")].find((one) => (one.id || one.getAttribute("href")) === mark);
        if (same) same.focus({ preventScroll: true });
      }
      tell(region);
    }
  };

  const refresh = async () => {
    if (asking) { again = true; return; }
    asking = true;
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" }, cache: "no-store" });
      if (!answer.ok) throw new Error(String(answer.status));
      replace(new DOMParser().parseFromString(await answer.text(), "text/html"));
      if (!source) say("Not live: asked again every " + EVERY / 1000 + " s");
    } catch {
      say("Not live: the service does not answer");
    } finally {
      asking = false;
      if (again) { again = false; later(); }
    }
  };
  // Many browsers do not ask in the same moment, and one does not ask for each alert.
  const later = () => {
    if (waiting === null) {
      waiting = setTimeout(() => { waiting = null; refresh(); }, SOON + Math.random() * SOON);
    }
  };

  // Puts rows that the service made into the list at once.
  const put = (rows) => {
    const list = document.querySelector("tbody[data-rows]");
    if (!list) return;
    for (const { key, html } of rows) {
      const holder = document.createElement("template");
      holder.innerHTML = html;
      const row = holder.content.querySelector("tr");
      if (!row) continue;
      const old = [...list.rows].find((one) => one.dataset.key === key);
      if (old) {
        if (old.innerHTML === row.innerHTML) continue;
        const focused = old.contains(document.activeElement);
        old.replaceWith(row);
        const link = focused && row.querySelector("a");
        if (link) link.focus({ preventScroll: true });
      } else if (isWhole) {
        // What is being read stays where it is.
        const from = list.rows[0], top = from && from.getBoundingClientRect().top;
        list.prepend(row);
        const most = Number(list.dataset.rows);
        while (list.rows.length > most) list.lastElementChild.remove();
        if (top !== undefined && top < 0) scrollBy(0, from.getBoundingClientRect().top - top);
        for (const none of document.querySelectorAll("[data-none]")) none.hidden = true;
      }
      row.classList.add("new");
      tell(row);
    }
  };

  // Events tell of alerts alone. The spool, the dead letters and how long ago something was are asked
  // for also while they come, or a page on a wall would go on saying that all is well.
  const poll = () => {
    if (polling === null) polling = setInterval(() => { if (!document.hidden) refresh(); }, EVERY);
  };
  const listen = () => {
    if (source || document.hidden) return;
    const opened = new EventSource(body.dataset.events);
    source = opened;
    opened.onopen = () => {
      refusals = 0;
      say("Live");
      if (wasRefused) { wasRefused = false; refresh(); }
    };
    opened.addEventListener("alerts", (event) => {
      const { rows, said } = JSON.parse(event.data);
      put(rows);
      if (news && said) news.textContent = said;
      later();
    });
    opened.addEventListener("again", later);
    opened.onerror = () => {
      if (opened.readyState === EventSource.CLOSED) {
        // Refused: too many are open, or the service is being restarted.
        source = null;
        refusals += 1;
  XX
        setTimeout(listen, Math.min(LONGEST, 5000 * 2 ** refusals));
      } else {
        say("Not live: connecting again");
      }
    };
  };
  // A browser has six connections for all pages of a service: what nobody looks at takes none.
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) { listen(); refresh(); return; }
    if (source) { source.close(); source = null; say("Not live while nobody looks"); }
  });
  say("Connecting");
  listen();
  poll();
})();
