export const word = "edit 0";
if (import.meta.hot) import.meta.hot.accept();
