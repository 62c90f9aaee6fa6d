"""What is learned and tested: classes and clips of a task, and how they are split."""
