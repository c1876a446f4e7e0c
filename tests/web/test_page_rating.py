"""What the page says of all remarks, without a browser."""

from __future__ import annotations

from triptych.web.page.rating import summary_html
from triptych.web.service import Service


def test_the_summary_counts_remarks_of_each_task(tiny_run, tmp_path):
    service = Service({"tiny": tiny_run}, feedback_at=tmp_path)
    service.load()
    try:
        assert "Nothing yet" in summary_html(service, "tiny")
        for text, said in (("a deep tone", "low"), ("a whistle", "low")):
            correction = "low" if "deep" in text else "high"
            service.feedback["tiny"].say({"text": text}, task="label", correction=correction, answer={"said": said})
        html = summary_html(service, "tiny")
    finally:
        service.close()
    assert "2 remarks (2 correction)" in html and "<th scope='row'>label</th><td>2</td><td>1 of 2" in html
