"""Features made up for tests."""

import numpy as np

from vmusprod.video.features import VideoFeatures, motion_steps


def features(duration: float = 12.0, motion: float = 10.0) -> VideoFeatures:
    steps = np.full(motion_steps(duration), motion, np.float32)
    return VideoFeatures(duration, steps, np.zeros(0, np.float32))
