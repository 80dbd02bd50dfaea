// What the tests ask a page. Each function is called with plain values and returns one.
({
  describe(element) {
    const id = element.id ? `#${element.id}` : '';
    const classes = [...element.classList].map((name) => `.${name}`).join('');
    return `<${element.localName}${id}${classes}>`;
  },

  found(selector) {
    const element = document.querySelector(selector);
    if (!element) throw new Error('there is none');
    return element;
  },

  visible(selector) {
    const all = [...document.querySelectorAll(selector)];
    if (!all.length) throw new Error('there is none');
    const seen = all.find((element) => element.checkVisibility({ visibilityProperty: true, opacityProperty: true }));
    if (!seen) throw new Error('it is there and not visible');
    return seen;
  },

  isVisible(selector) {
    return Boolean(this.visible(selector));
  },

  isGone(selector) {
    const left = [...document.querySelectorAll(selector)].find((element) => element.checkVisibility({ visibilityProperty: true }));
    if (left) throw new Error(`${this.describe(left)} is still there`);
    return true;
  },

  text(selector) {
    const element = this.visible(selector);
    return element.innerText ?? element.textContent;
  },

  texts(selector) {
    return [...document.querySelectorAll(selector)].map((element) => element.innerText ?? element.textContent);
  },

  attribute(selector, name) {
    return this.found(selector).getAttribute(name);
  },

  value(selector) {
    return this.found(selector).value;
  },

  says(text) {
    const said = document.body?.innerText ?? '';
    if (!said.includes(text)) throw new Error(`the page says ${JSON.stringify(said.slice(0, 2000))}`);
    return true;
  },

  isAt(part) {
    if (!location.href.includes(part)) throw new Error(`it is at ${location.href}`);
    return true;
  },

  isLoaded() {
    if (document.readyState !== 'complete') throw new Error(`the page is ${document.readyState}`);
    return true;
  },

  // Where a pointer meets the element, which is where a user would: shown, at rest, enabled, and below nothing else.
  async target(selector) {
    const element = this.visible(selector);
    element.scrollIntoView({ block: 'center', inline: 'center', behavior: 'instant' });
    const at = () => JSON.stringify(element.getBoundingClientRect());
    const before = at();
    await new Promise(requestAnimationFrame);
    if (!element.isConnected) throw new Error('it has just gone');
    if (before !== at()) throw new Error('it moves');
    if (element.matches(':disabled')) throw new Error('it is disabled');
    // A link that is broken over two lines is not where the middle of both is.
    const box = element.getClientRects()[0];
    if (!box || !box.width || !box.height) throw new Error('it has no size');
    const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
    let hit = document.elementFromPoint(x, y);
    while (hit?.shadowRoot?.elementFromPoint(x, y) && hit.shadowRoot.elementFromPoint(x, y) !== hit) {
      hit = hit.shadowRoot.elementFromPoint(x, y);
    }
    if (!hit) throw new Error('it is outside of the window');
    const isMet = element === hit || element.contains(hit) || hit.closest('label')?.control === element;
    if (!isMet) throw new Error(`${this.describe(hit)} lies above it`);
    return [x, y];
  },

  select(selector) {
    const element = this.found(selector);
    element.focus();
    element.select();
    return true;
  },

  focused() {
    const element = document.activeElement;
    return element && element !== document.body ? this.describe(element) : '';
  },

  // How many pixels of the page lie to the right of the window.
  overflow() {
    const root = document.scrollingElement ?? document.documentElement;
    return Math.max(0, root.scrollWidth - root.clientWidth);
  },

  // Two frames later everything that a script began in the last one was drawn, and told.
  async settle() {
    await document.fonts?.ready;
    for (let frame = 0; frame < 2; frame += 1) await new Promise(requestAnimationFrame);
    await new Promise((resolve) => setTimeout(resolve, 0));
    return true;
  },
})
