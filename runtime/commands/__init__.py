"""What one types: draw-gen, draw-classify, draw-score and draw-doctor."""
