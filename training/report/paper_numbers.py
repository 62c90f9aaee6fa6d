"""What the paper printed (Kong, You, Lv, Sensors 2025, 25(10), 3175, Tables 2-5), as data and never as a target.

Class names are the paper's own words: constrain is repression, detest disgust, despise contempt, frightened fear.
"""

from typing import NamedTuple

CITATION = "Kong, You, Lv: 3D Micro-Expression Recognition Based on Adaptive Dynamic Vision. Sensors 2025, 25(10), 3175"
CAVEATS = (
    "These numbers were not reached with this program and are not comparable with the result above: the paper states "
    "neither split nor protocol, and its clips are unknown.",
    'Its "average accuracy" is the unweighted mean over classes, that is, UAR in per cent. Its macro-F1 is Eq. 30.',
    "Its confusion matrices hold more samples than the datasets have clips: 283 of SMIC's 164, and 572 in one class "
    "of SAMM's 159.",
    "MADV-Net's macro-F1 on CAS(ME)2 is 0.78 in Table 4 and 0.82 in the text.",
    'In Table 5 the column "Surprised" lies within 0.07 of the mean of the other seven in every row.',
)

# Name of a model here -> the method's name in the paper's tables.
PAPER_METHODS = {
    "madv_net": "MADV-Net",
    "c3d": "C3D",
    "r2plus1d-18": "R(2+1)D-18",
    "r3d-18": "3D ResNet-18",
    "ec-stfl": "EC-STFL",
    "resnet18-lstm": "ResNet-18 + LSTM",
    "resnet18-gru": "ResNet-18 + GRU",
    "former-dfer": "Former-DFER",
    "ceflnet": "CEFLNet",
    "est": "EST",
    "stt": "STT",
    "nr-dfernet": "NR-DFERNet",
    "videomae": "VideoMAE",
    "mae-dfer": "MAE-DFER",
}


class PaperRow(NamedTuple):
    """One method: accuracy of each class and their mean in per cent, macro-F1 of Eq. 30."""

    method: str
    classes: tuple[float, ...]
    average: float
    macro_f1: float


class PaperTable(NamedTuple):
    """One table.

    Attributes:
        number: in the paper.
        dataset: as clip keys begin.
        title: the paper's name of the dataset.
        classes: in the paper's words.
        rows: thirteen methods, MADV-Net last.
    """

    number: int
    dataset: str
    title: str
    classes: tuple[str, ...]
    rows: tuple[PaperRow, ...]

    def row_of(self, model: str) -> PaperRow | None:
        """What the paper printed for the method that has this name here."""
        return next((row for row in self.rows if row.method == PAPER_METHODS.get(model)), None)


# fmt: off
PAPER_TABLES: tuple[PaperTable, ...] = (
    PaperTable(2, "smic-hs", "SMIC", ("positive", "negative", "surprise"), (
        PaperRow("C3D", (58.15, 40.83, 45.00), 47.99, 0.44),
        PaperRow("R(2+1)D-18", (61.86, 49.04, 48.26), 53.05, 0.50),
        PaperRow("3D ResNet-18", (62.67, 45.87, 47.35), 51.96, 0.49),
        PaperRow("EC-STFL", (61.06, 44.68, 46.15), 50.63, 0.50),
        PaperRow("ResNet-18 + LSTM", (68.03, 52.13, 51.24), 57.13, 0.53),
        PaperRow("ResNet-18 + GRU", (66.54, 54.21, 52.00), 57.58, 0.55),
        PaperRow("Former-DFER", (67.68, 54.79, 56.43), 59.63, 0.56),
        PaperRow("CEFLNet", (67.67, 51.67, 52.08), 57.14, 0.56),
        PaperRow("EST", (70.10, 55.67, 52.87), 59.54, 0.57),
        PaperRow("STT", (62.14, 60.09, 53.20), 58.47, 0.56),
        PaperRow("NR-DFERNet", (73.49, 58.31, 62.60), 64.80, 0.60),
        PaperRow("VideoMAE", (75.19, 58.41, 63.50), 65.70, 0.61),
        PaperRow("MAE-DFER", (76.02, 65.70, 61.25), 67.65, 0.62),
        PaperRow("MADV-Net", (84.31, 69.31, 65.00), 72.87, 0.69),
    )),
    PaperTable(3, "casme2", "CASME-II", ("happy", "constrain", "surprised", "detest", "other"), (
        PaperRow("C3D", (54.00, 62.25, 49.25, 66.00, 68.50), 60.00, 0.56),
        PaperRow("R(2+1)D-18", (62.30, 66.70, 58.60, 67.20, 68.60), 64.68, 0.59),
        PaperRow("3D ResNet-18", (65.00, 68.00, 72.00, 71.50, 71.50), 69.60, 0.61),
        PaperRow("EC-STFL", (66.25, 68.68, 74.00, 72.50, 74.00), 71.08, 0.68),
        PaperRow("ResNet-18 + LSTM", (74.00, 71.50, 70.50, 74.20, 75.20), 73.08, 0.69),
        PaperRow("ResNet-18 + GRU", (74.50, 76.00, 74.50, 74.00, 70.20), 73.84, 0.68),
        PaperRow("Former-DFER", (78.00, 78.00, 77.60, 75.50, 77.50), 77.32, 0.71),
        PaperRow("CEFLNet", (79.50, 81.20, 80.00, 81.50, 84.00), 81.24, 0.76),
        PaperRow("EST", (86.00, 79.60, 82.00, 80.00, 81.60), 81.84, 0.78),
        PaperRow("STT", (86.50, 81.25, 82.45, 80.60, 82.00), 82.56, 0.79),
        PaperRow("NR-DFERNet", (86.50, 85.00, 86.00, 84.50, 82.50), 84.90, 0.80),
        PaperRow("VideoMAE", (87.00, 88.20, 79.50, 85.50, 85.00), 85.04, 0.81),
        PaperRow("MAE-DFER", (90.00, 86.50, 86.00, 84.00, 86.00), 86.50, 0.82),
        PaperRow("MADV-Net", (94.12, 91.30, 88.24, 86.36, 89.71), 89.94, 0.84),
    )),
    PaperTable(4, "casme-sq", "CAS(ME)2", ("happy", "sad", "neutral", "angry", "surprised", "despise", "frightened"), (
        PaperRow("C3D", (48.20, 45.53, 52.71, 53.72, 63.45, 54.93, 60.23), 54.11, 0.52),
        PaperRow("R(2+1)D-18", (79.65, 39.02, 56.65, 51.02, 67.25, 63.25, 62.08), 59.84, 0.55),
        PaperRow("3D ResNet-18", (76.32, 50.20, 64.15, 61.95, 46.53, 61.02, 62.65), 60.40, 0.58),
        PaperRow("EC-STFL", (78.25, 50.05, 54.25, 60.25, 65.25, 62.83, 60.57), 61.63, 0.59),
        PaperRow("ResNet-18 + LSTM", (81.90, 60.95, 62.60, 66.97, 53.25, 60.20, 60.82), 63.81, 0.60),
        PaperRow("ResNet-18 + GRU", (80.65, 61.50, 61.45, 68.51, 52.02, 70.89, 71.54), 66.65, 0.62),
        PaperRow("Former-DFER", (83.58, 67.58, 67.00, 70.00, 56.25, 73.54, 71.57), 69.93, 0.64),
        PaperRow("CEFLNet", (84.24, 64.56, 67.01, 70.03, 52.00, 80.00, 81.00), 71.26, 0.66),
        PaperRow("EST", (86.25, 65.25, 67.15, 72.54, 78.81, 65.21, 79.25), 73.49, 0.68),
        PaperRow("STT", (87.12, 64.25, 62.65, 71.56, 63.21, 73.48, 75.68), 71.13, 0.69),
        PaperRow("NR-DFERNet", (88.15, 64.25, 68.95, 69.58, 60.51, 81.56, 82.15), 73.59, 0.70),
        PaperRow("VideoMAE", (91.25, 68.15, 70.52, 74.02, 61.56, 85.61, 79.65), 75.82, 0.71),
        PaperRow("MAE-DFER", (91.85, 70.95, 72.56, 75.21, 65.21, 80.56, 83.69), 77.14, 0.72),
        PaperRow("MADV-Net", (92.90, 78.99, 79.02, 84.36, 81.36, 85.37, 81.25), 83.32, 0.78),
    )),
    PaperTable(5, "samm", "SAMM", ("happy", "sad", "detest", "angry", "other", "despise", "frightened", "surprised"), (
        PaperRow("C3D", (65.00, 57.00, 58.60, 60.00, 62.00, 61.20, 68.00, 61.64), 61.68, 0.58),
        PaperRow("R(2+1)D-18", (67.50, 60.00, 63.20, 67.00, 61.00, 64.00, 68.50, 64.40), 64.45, 0.59),
        PaperRow("3D ResNet-18", (68.00, 69.00, 72.00, 70.00, 61.00, 63.20, 64.00, 66.72), 66.74, 0.61),
        PaperRow("EC-STFL", (72.00, 70.00, 68.00, 68.00, 64.00, 65.00, 65.00, 67.36), 67.42, 0.63),
        PaperRow("ResNet-18 + LSTM", (74.50, 74.00, 70.00, 72.00, 74.00, 68.50, 68.00, 71.56), 71.57, 0.65),
        PaperRow("ResNet-18 + GRU", (78.00, 75.00, 67.50, 68.00, 65.00, 74.00, 70.00, 71.06), 71.07, 0.66),
        PaperRow("Former-DFER", (80.00, 82.00, 70.00, 72.00, 74.00, 72.00, 73.00, 74.68), 74.71, 0.68),
        PaperRow("CEFLNet", (80.00, 78.00, 72.00, 78.00, 70.00, 71.00, 73.50, 74.62), 74.64, 0.69),
        PaperRow("EST", (82.00, 82.00, 85.00, 81.00, 75.00, 74.50, 76.50, 79.36), 79.42, 0.71),
        PaperRow("STT", (84.00, 82.50, 86.00, 84.00, 80.00, 76.00, 78.00, 81.50), 81.50, 0.79),
        PaperRow("NR-DFERNet", (86.00, 86.00, 85.00, 86.00, 85.00, 86.00, 84.00, 85.36), 85.42, 0.81),
        PaperRow("VideoMAE", (92.00, 94.00, 90.00, 86.00, 84.00, 85.00, 86.00, 88.12), 88.14, 0.82),
        PaperRow("MAE-DFER", (91.00, 94.00, 92.00, 88.00, 94.00, 86.00, 84.00, 89.80), 89.85, 0.84),
        PaperRow("MADV-Net", (93.95, 88.85, 86.36, 91.97, 86.60, 90.06, 88.98, 89.47), 89.53, 0.88),
    )),
)
# fmt: on
