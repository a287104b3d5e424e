// For Chinese browsers: Gradio's script takes zh-CN and zh-TW alone for Chinese, and says some things in English to all.
((chinese) => {
  if (!navigator.language.toLowerCase().startsWith("zh")) return;
  const core = performance.getEntriesByType("resource").find(({ name }) => /\/core-[^/]*\.js$/.test(name));
  if (core) import(core.name).then(({ changeLocale }) => changeLocale("zh-CN"));

  const LABELS = ["aria-label", "title"];
  const STATUS = "[data-testid=status-tracker], [data-testid=toast-body]";
  const translated = (words) => {
    const begin = Object.keys(chinese).find((english) => words.startsWith(english));
    return begin ? chinese[begin] + words.slice(begin.length) : words;
  };
  const translate = (node) => {
    if (node.nodeType === Node.TEXT_NODE) {
      const words = translated(node.data);
      if (words !== node.data && node.parentElement?.closest(STATUS)) node.data = words;
    } else if (node.nodeType === Node.ELEMENT_NODE) {
      for (const label of LABELS) {
        const english = node.getAttribute(label) ?? "";
        const words = translated(english);
        if (words !== english) node.setAttribute(label, words);
      }
      node.childNodes.forEach(translate);
    }
  };
  translate(document.body);
  new MutationObserver((changes) => {
    for (const { type, target, addedNodes } of changes) {
      if (type === "childList") addedNodes.forEach(translate);
      else translate(target);
    }
  }).observe(document.body, {
    subtree: true, childList: true, characterData: true, attributes: true, attributeFilter: LABELS,
  });
})
