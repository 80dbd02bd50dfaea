// What pages can do beyond what they can without it: times in the reader's zone, figures that renew themselves, charts to point at, keys.
'use strict';
(() => {
  const main = document.getElementById('main');
  const language = document.documentElement.lang;

  // -- Times ----------------------------------------------------------------------------------------------------------
  const digits = { year: 'numeric', month: '2-digit', day: '2-digit', hour: '2-digit', minute: '2-digit', second: '2-digit' };
  const clock = new Intl.DateTimeFormat('sv-SE', digits);
  const zone = new Intl.DateTimeFormat(language, { timeZoneName: 'short' });

  function localise(within) {
    for (const time of within.querySelectorAll('time[datetime]')) {
      const at = new Date(time.getAttribute('datetime'));
      if (Number.isNaN(at.getTime())) continue;
      const name = zone.formatToParts(at).find((part) => part.type === 'timeZoneName');
      time.title = time.getAttribute('datetime');
      time.textContent = `${clock.format(at)} ${name ? name.value : ''}`;
    }
  }

  // -- Parts that renew themselves --------------------------------------------------------------------------------------
  // Changes what differs and nothing else, so that focus, selection and drawings stay.
  function morph(old, fresh) {
    if (old.isEqualNode(fresh)) return;
    if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) {
      old.replaceWith(fresh);
      return;
    }
    if (old.nodeType !== Node.ELEMENT_NODE) {
      old.nodeValue = fresh.nodeValue;
      return;
    }
    if (old.hasAttribute('data-keep')) return;
    for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name) && name !== 'open') old.removeAttribute(name);
    for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    const [had, has] = [[...old.childNodes], [...fresh.childNodes]];
    has.forEach((node, i) => (had[i] ? morph(had[i], node) : old.append(node)));
    had.slice(has.length).forEach((node) => node.remove());
  }

  const renewed = new WeakMap();

  async function renew(section) {
    const last = renewed.get(section) ?? 0;
    if (document.hidden || Date.now() - last < Number(section.dataset.every ?? 0) * 1000) return;
    renewed.set(section, Date.now());
    const response = await fetch(section.dataset.live, { headers: { Accept: 'text/html' }, cache: 'no-store' });
    if (!response.ok || response.redirected) throw new Error(`${response.status}`);
    const fresh = new DOMParser().parseFromString(await response.text(), 'text/html').querySelector('[data-live]');
    if (!fresh) throw new Error('nothing to renew');
    localise(fresh);
    morph(section, fresh);
    draw();
  }

  const sections = [...document.querySelectorAll('[data-live]')];
  const sign = document.querySelector('[data-live-sign]');

  function tell(isLive) {
    if (!sign) return;
    sign.hidden = false;
    sign.classList.toggle('on', isLive);
    const text = isLive ? sign.dataset.on : sign.dataset.off;
    if (sign.textContent !== text) sign.textContent = text;
  }

  // The server ends each stream after a while, and the browser opens the next one: that is no news. What does not come for this long is.
  const QUIET_MS = 10000;

  function listen() {
    const events = new EventSource('/v1/events');
    let isBusy = false;
    let seenAt = Date.now();
    const look = async () => {
      if (isBusy) return;
      isBusy = true;
      try {
        await Promise.all(sections.map(renew));
        seenAt = Date.now();
        tell(true);
      } catch {
        tell(false);
      } finally {
        isBusy = false;
      }
    };
    const watch = setInterval(() => { if (Date.now() - seenAt > QUIET_MS && !document.hidden) tell(false); }, 1000);
    const end = () => {
      clearInterval(watch);
      events.close();
    };
    events.addEventListener('overview', look);
    events.addEventListener('error', () => {
      if (events.readyState !== EventSource.CLOSED) return;
      // It was refused: somebody was logged out, or the server is full.
      tell(false);
      end();
      setTimeout(listen, 15000);
    });
    addEventListener('pagehide', end, { once: true });
  }

  // -- Charts -----------------------------------------------------------------------------------------------------------
  const plots = new Map();
  const dark = matchMedia('(prefers-color-scheme: dark)');

  function draw() {
    if (typeof uPlot === 'undefined') return;
    for (const figure of document.querySelectorAll('[data-chart]')) {
      const { names, colours, times, lines } = JSON.parse(figure.dataset.chart);
      const known = plots.get(figure);
      if (known && known.names === names.join()) known.plot.setData([times, ...lines]);
      else plots.set(figure, { names: names.join(), plot: plotted(figure, names, colours, [times, ...lines]) });
    }
  }

  function plotted(figure, names, colours, data) {
    const place = figure.querySelector('.plot');
    const label = place.querySelector('svg')?.getAttribute('aria-label');
    const style = getComputedStyle(figure);
    const colour = (name) => style.getPropertyValue(name).trim();
    const values = [...figure.querySelectorAll('.legend b')];
    const axis = { stroke: colour('--muted'), grid: { stroke: colour('--line'), width: 1 }, ticks: { stroke: colour('--line'), width: 1 } };
    const seconds = Number(figure.dataset.minutes) * 60;
    const hour = new Intl.DateTimeFormat('sv-SE', { hour: '2-digit', minute: '2-digit' });
    const short = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });
    place.replaceChildren();
    place.setAttribute('role', 'img');
    if (label) place.setAttribute('aria-label', label);
    let before = null;
    const options = {
      width: place.clientWidth,
      height: 170,
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false } },
      scales: {
        x: { range: () => [Date.now() / 1000 - seconds, Date.now() / 1000] },
        y: { range: (_, __, most) => [0, Math.max(most * 1.05, 1)] },
      },
      series: [{}, ...names.map((name, i) => ({ label: name, stroke: colour(`--s${colours[i]}`), width: 1.5, points: { show: false } }))],
      axes: [
        { ...axis, size: 32, values: (_, ticks) => ticks.map((tick) => hour.format(tick * 1000)) },
        { ...axis, size: 48, values: (_, ticks) => ticks.map((tick) => short.format(tick)) },
      ],
      hooks: {
        setCursor: [({ cursor, data: shown }) => {
          before ??= values.map((value) => value.textContent);
          const at = cursor.idx;
          values.forEach((value, i) => {
            value.textContent = at == null ? before[i] : `${short.format(shown[i + 1][at] ?? 0)}${figure.dataset.unit}`;
          });
          if (at == null) before = null;
        }],
      },
    };
    const plot = new uPlot(options, data, place);
    new ResizeObserver(() => plot.setSize({ width: place.clientWidth, height: 170 })).observe(place);
    return plot;
  }

  dark.addEventListener('change', () => {
    plots.forEach(({ plot }) => plot.destroy());
    plots.clear();
    draw();
  });

  // -- Keys -------------------------------------------------------------------------------------------------------------
  const keys = document.getElementById('keys');
  let wentAt = 0;

  function showKeys() {
    if (keys && !keys.open) keys.showModal();
  }

  function moveRow(step) {
    const rows = [...main.querySelectorAll('tbody tr')].filter((row) => row.offsetParent);
    const at = rows.indexOf(document.activeElement?.closest('tbody tr'));
    const row = rows[at < 0 ? (step > 0 ? 0 : rows.length - 1) : Math.min(Math.max(at + step, 0), rows.length - 1)];
    if (!row) return;
    row.tabIndex = -1;
    row.focus();
    row.scrollIntoView({ block: 'nearest' });
  }

  function focusSearch() {
    const field = document.getElementById('search');
    if (field) {
      field.focus();
      field.select();
    } else location.assign('/messages#search');
  }

  document.addEventListener('keydown', (event) => {
    const target = event.target;
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || keys?.open) return;
    if (target.matches?.('input, textarea, select')) {
      if (event.key === 'Escape') target.blur();
      return;
    }
    const isGoing = Date.now() - wentAt < 1500;
    wentAt = 0;
    const place = isGoing && event.key.length === 1 ? document.querySelector(`[data-go="${CSS.escape(event.key)}"]`) : null;
    const deeds = { '/': focusSearch, '?': showKeys, j: () => moveRow(1), k: () => moveRow(-1), g: () => { wentAt = Date.now(); } };
    if (place) place.click();
    else if (event.key === 'Enter' && target.matches?.('tbody tr')) target.querySelector('a')?.click();
    else if (Object.hasOwn(deeds, event.key) && keys) deeds[event.key]();
    else return;
    event.preventDefault();
  });

  for (const button of document.querySelectorAll('[data-keys]')) {
    button.hidden = !keys;
    button.addEventListener('click', showKeys);
  }

  // What was left empty is no part of an address.
  for (const form of document.querySelectorAll('form[method="get"]')) {
    form.addEventListener('formdata', ({ formData }) => {
      for (const [name, value] of [...formData]) if (value === '') formData.delete(name);
    });
  }

  // -- At once ----------------------------------------------------------------------------------------------------------
  localise(document);
  draw();
  if (sections.length) listen();
  if (location.hash === '#search') focusSearch();
  // What was done is told once: not when the page is loaded again.
  const here = new URL(location.href);
  if (here.searchParams.has('notice')) {
    here.searchParams.delete('notice');
    history.replaceState(null, '', here);
  }
})();
