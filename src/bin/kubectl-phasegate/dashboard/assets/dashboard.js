// Updates an open page: replaces the parts that changed, and keeps focus, selection and position.
"use strict";

(() => {
  const parts = (page) => page.querySelectorAll("[data-live]");
  // The HTML of each part as the server wrote it, because the times in the page are rewritten.
  const written = new Map();

  const localise = (root) => {
    for (const time of root.querySelectorAll("time")) {
      const at = new Date(time.dateTime);
      if (Number.isNaN(at.getTime())) continue;
      const text = at.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
      if (time.classList.contains("moment")) time.textContent = text;
      else time.title = text;
    }
  };

  const count = () => {
    const boxes = [...document.querySelectorAll('input[name="gateway"][type="checkbox"]')];
    const picked = boxes.filter((box) => box.checked);
    const all = document.getElementById("all");
    if (all) {
      const free = boxes.filter((box) => !box.disabled);
      all.disabled = free.length === 0;
      all.checked = free.length > 0 && picked.length === free.length;
      all.indeterminate = picked.length > 0 && !all.checked;
    }
    const told = document.getElementById("selected");
    if (told) told.textContent = picked.length ? `${picked.length} selected` : "";
  };

  const replace = (part, fresh) => {
    const focus = document.activeElement && part.contains(document.activeElement) ? document.activeElement.id : "";
    const picked = new Set([...part.querySelectorAll("input:checked")].map((box) => box.id));
    const open = [...part.querySelectorAll("details")].map((one) => one.open);
    part.replaceChildren(...fresh.cloneNode(true).childNodes);
    for (const id of picked) {
      const box = id && document.getElementById(id);
      if (box && !box.disabled) box.checked = true;
    }
    part.querySelectorAll("details").forEach((one, at) => { one.open = open[at] ?? one.open; });
    localise(part);
    if (focus) document.getElementById(focus)?.focus({ preventScroll: true });
  };

  const update = (page) => {
    for (const fresh of parts(page)) {
      const part = document.getElementById(fresh.id);
      if (!part || written.get(fresh.id) === fresh.innerHTML) continue;
      written.set(fresh.id, fresh.innerHTML);
      // Rows in the same order are replaced one by one, so that the others are not laid out again.
      const rows = [...part.querySelectorAll("[data-row]")];
      const news = [...fresh.querySelectorAll("[data-row]")];
      if (rows.length > 0 && rows.length === news.length && rows.every((row, at) => row.id === news[at].id)) {
        rows.forEach((row, at) => {
          const html = news[at].innerHTML;
          if (written.get(row.id) === html) return;
          written.set(row.id, html);
          replace(row, news[at]);
        });
      } else {
        replace(part, fresh);
        news.forEach((row) => written.set(row.id, row.innerHTML));
      }
    }
    count();
  };

  const banner = (words) => {
    const place = document.getElementById("banner");
    if (!place) return;
    const line = document.createElement("p");
    line.className = "banner";
    line.textContent = words;
    place.replaceChildren(line);
    written.delete("banner");
  };

  const gone = "The dashboard does not answer. Run kubectl phasegate dashboard again and open its new address.";
  let reading = false;
  let again = false;
  const read = async () => {
    if (reading) {
      again = true;
      return;
    }
    reading = true;
    try {
      do {
        again = false;
        const response = await fetch(location.href, { credentials: "same-origin" });
        const page = new DOMParser().parseFromString(await response.text(), "text/html");
        if (response.ok) update(page);
        else if (page.getElementById("banner")?.textContent) replace(document.getElementById("banner"), page.getElementById("banner"));
        else banner(page.querySelector(".verdict")?.textContent ?? gone);
      } while (again);
    } catch {
      banner(gone);
    } finally {
      reading = false;
    }
  };

  for (const part of parts(document)) {
    written.set(part.id, part.innerHTML);
    for (const row of part.querySelectorAll("[data-row]")) written.set(row.id, row.innerHTML);
  }
  localise(document);
  count();

  document.addEventListener("change", (event) => {
    if (event.target.id === "all") {
      for (const box of document.querySelectorAll('input[name="gateway"][type="checkbox"]')) {
        if (!box.disabled) box.checked = event.target.checked;
      }
    }
    if (event.target.matches('.filters select')) event.target.form.requestSubmit();
    count();
  });

  const query = document.body.dataset.liveQuery;
  if (query !== undefined) {
    const changes = new EventSource(`/changes?${query}`);
    changes.addEventListener("change", read);
    changes.addEventListener("error", () => { if (!document.hidden) banner(gone); });
  }
})();
