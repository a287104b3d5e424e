"""DICOM files for tests: CT slices of stored values, as scanners write and compress them."""

import imagecodecs
import numpy as np
from pydicom import Dataset, dcmread, dcmwrite, uid
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate

SECRET = "Nightingale"
"""Stands in what says who the patient is."""
ENCODERS = {
    uid.JPEGLossless: lambda values: imagecodecs.jpeg8_encode(values.view("u2"), lossless=True, predictor=4),
    uid.JPEGLosslessSV1: lambda values: imagecodecs.jpeg8_encode(values.view("u2"), lossless=True),
    uid.JPEGLSLossless: lambda values: imagecodecs.jpegls_encode(values.view("u2")),
    uid.JPEG2000Lossless: lambda values: imagecodecs.jpeg2k_encode(
        values, codecformat="j2k", reversible=True
    ),
}
COMPRESSIONS = (*ENCODERS, uid.RLELossless)


def to_hu(grey):
    """A slice in the lung window turned back to HU, int16."""
    return np.round(np.asarray(grey) / 255 * 1500 - 1350).astype(np.int16)


def write_dicom(path, stored, *, syntax=uid.ExplicitVRLittleEndian, preamble=True, without=(), **tags):
    """A CT slice of stored values; other tags as given, some left out."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = uid.CTImageStorage, uid.generate_uid()
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = f"{SECRET}^Ann", SECRET, "19010203"
    dataset.InstitutionName = dataset.ReferringPhysicianName = dataset.StudyDescription = SECRET
    dataset.Modality, dataset.BodyPartExamined = "CT", "CHEST"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, 0
    dataset.WindowCenter, dataset.WindowWidth = 40, 400
    dataset.SamplesPerPixel = stored.shape[3] if stored.ndim == 4 else 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    if stored.ndim > 2:
        dataset.NumberOfFrames = len(stored)
    dataset.Rows, dataset.Columns = stored.shape[-2:] if stored.ndim < 4 else stored.shape[1:3]
    dataset.BitsAllocated = dataset.BitsStored = 8 * stored.itemsize
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(stored.dtype.kind == "i")
    for name, value in tags.items():
        setattr(dataset, name, value)
    for name in without:
        delattr(dataset, name)
    dataset.PixelData = stored.tobytes()
    if not preamble:
        dcmwrite(path, dataset, implicit_vr=syntax.is_implicit_VR, little_endian=True)
        return path
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path, enforce_file_format=True)
    return path


def compress(path, syntax):
    """Encode the pixels of a file as its scanner might."""
    dataset = dcmread(path)
    if syntax == uid.RLELossless:
        dataset.compress(uid.RLELossless)
    else:
        frames = dataset.pixel_array.reshape(-1, dataset.Rows, dataset.Columns)
        dataset.PixelData = encapsulate([ENCODERS[syntax](frame) for frame in frames])
        dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path, enforce_file_format=True)
