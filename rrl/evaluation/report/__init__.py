"""What the rows of a robustness evaluation say, as one page, figures, tables and MLflow runs.

- ``summary``: a few numbers a policy and a method, from many cells, on data frames
- ``seeds``: intervals over training seeds, comparisons of methods
- ``verdict``: who is best and how sure that is; the numbers for the terminal
- ``figures``, ``figures_panels``, ``figures_style``: figures with their captions, how each is drawn, their style
- ``sources``: where the numbers come from
- ``page``: the page
- ``write``: everything into a folder, and from there to MLflow
"""
