"""What is computed from maps and posteriors: influence measures, comparisons, refinement, refits."""
