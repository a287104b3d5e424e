// Gradio's script takes zh-CN and zh-TW alone for Chinese, says some things in English to all, and of a full queue not how
// long it is.
((texts) => {
  const chinese = navigator.language.toLowerCase().startsWith("zh");
  const core = performance.getEntriesByType("resource").find(({ name }) => /\/core-[^/]*\.js$/.test(name));
  if (chinese && core) import(core.name).then(({ changeLocale }) => changeLocale("zh-CN"));

  let seconds = "60";
  const ask = window.fetch;
  window.fetch = async (...request) => {
    const answer = await ask(...request);
    if (answer.status === 503) seconds = /(\d+) seconds/.exec(await answer.clone().text())?.[1] ?? seconds;
    return answer;
  };

  const said = texts[chinese ? "zh" : "en"];
  const LABELS = ["aria-label", "title"];
  const STATUS = "[data-testid=status-tracker], [data-testid=toast-body]";
  const translated = (words) => {
    const begin = Object.keys(said).find((english) => words.startsWith(english));
    return begin ? said[begin].replace("{seconds}", seconds) + words.slice(begin.length) : words;
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
