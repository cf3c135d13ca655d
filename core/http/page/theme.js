// The chosen theme, set before anything is drawn.

try {
  const chosen = localStorage.getItem("roomcast-theme");
  if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
} catch {
  // Storage is forbidden: the system's theme is used.
}
