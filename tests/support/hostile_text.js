// What is wrong with a page that shows this text: it is not there, or something in the page is more than text.
(function (text) {
  const wrong = [];
  const describe = (element) => element.outerHTML.slice(0, 200);

  // A page may show characters that nobody sees as something else, so only what lies between them is looked for.
  const parts = text.split(/[\p{C}\p{Z}\p{M}\s]+/u).filter(Boolean);
  const literal = parts.map((part) => part.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&'));
  const fields = [...document.querySelectorAll('input, textarea')].map((field) => field.value);
  const said = [document.body?.innerText ?? '', ...fields].join('\n');
  if (!new RegExp(literal.join('[^]{0,40}?')).test(said)) wrong.push(`it is not shown: ${JSON.stringify(said.slice(0, 500))}`);

  const addresses = ['href', 'src', 'action', 'formaction', 'data', 'xlink:href'];
  const isPicture = (element, address) => element.matches('img, link[rel~=icon]') && address.startsWith('data:image/');
  for (const element of document.querySelectorAll('*')) {
    const handlers = element.getAttributeNames().filter((name) => /^on/i.test(name));
    if (element.hasAttribute('data-hostile')) wrong.push(`an element was made of it: ${describe(element)}`);
    if (handlers.length) wrong.push(`${handlers} is a handler: ${describe(element)}`);
    for (const name of addresses.filter((name) => element.hasAttribute(name))) {
      const address = element.getAttribute(name);
      const url = URL.canParse(address, document.baseURI) ? new URL(address, document.baseURI) : null;
      const isGood = !url || ['http:', 'https:', 'mailto:'].includes(url.protocol) || isPicture(element, address);
      if (!isGood) wrong.push(`an address that runs: ${describe(element)}`);
    }
  }

  // A mark of direction reaches as far as the block, or the isolated part of it, that it stands in: its text has to be alone there.
  const walker = document.createTreeWalker(document.body ?? document.documentElement, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    if (!/[\u202a-\u202e\u2066-\u2069]/.test(node.data) || node.parentElement.matches('script, style, textarea, title')) continue;
    let block = node.parentElement;
    const isInline = () => /^inline$|^contents$/.test(getComputedStyle(block).display);
    const isIsolated = () => /isolate|plaintext/.test(getComputedStyle(block).unicodeBidi);
    while (isInline() && !isIsolated() && block.parentElement) block = block.parentElement;
    const isOurs = node.data.includes(text);
    const isAlone = block.textContent.trim() === (isOurs ? text : node.data).trim();
    if (!isAlone) wrong.push(`marks of direction reach what stands beside them: ${describe(block)}`);
  }
  return wrong;
})
