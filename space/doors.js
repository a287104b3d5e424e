// A slice may be dropped or pasted anywhere on its tab, DICOM too: Gradio's image takes pictures alone, and only on itself.
(() => {
  const isPicture = (file) => file.type.startsWith("image/");
  const onTab = () => document.querySelector("#slice")?.checkVisibility();
  const give = (file) => {
    const input = isPicture(file)
      ? document.querySelector("#slice input[type=file]")
      : document.querySelector("#open").parentElement.querySelector(":scope > input[type=file]");
    const given = new DataTransfer();
    given.items.add(file);
    input.files = given.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  };
  document.addEventListener("paste", ({ clipboardData }) => {
    if (clipboardData.files.length && onTab()) give(clipboardData.files[0]);
  });
  // What Gradio's image would turn away; it is not told, but that the drag is over.
  document.addEventListener("drop", (event) => {
    const [file] = event.dataTransfer.files;
    if (!file || isPicture(file) || !event.target.closest("#slice")) return;
    event.preventDefault();
    event.stopPropagation();
    event.target.dispatchEvent(new DragEvent("dragleave", { bubbles: true }));
    give(file);
  }, true);
  // Beside all places to drop on, where the browser would leave the page to show the file.
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    const [file] = event.dataTransfer.files;
    if (!file) return;
    event.preventDefault();
    if (onTab()) give(file);
  });
  // A file that the browser cannot draw, such as TIFF: what was read of it stands beside the answer.
  const drawn = (seen) => ({ target }) => {
    if (target.matches?.("#slice img")) target.style.visibility = seen;
  };
  document.addEventListener("error", drawn("hidden"), true);
  document.addEventListener("load", drawn(""), true);
})();
