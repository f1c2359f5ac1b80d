"""The figures, drawn with Matplotlib and placed in the page as SVG that takes the page's font and colours."""
