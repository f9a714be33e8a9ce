"""The API documentation at /docs, in a browser and under its Content-Security-Policy."""

from typing import Any


def test_the_documentation_shows_all_routes_and_can_call_them(open_page: Any) -> None:
    driver = open_page(connect=False)
    page = driver.page
    page.goto(f"{driver.url}/docs")
    page.wait_for_selector(".opblock")
    assert page.locator(".opblock-summary-path").count() >= 8
    page.locator(".opblock", has_text="/health/live").locator(".opblock-summary").click()
    page.get_by_role("button", name="Execute").click()
    page.wait_for_selector(".responses-table.live-responses-table")
    assert '"alive"' in page.locator(".live-responses-table").inner_text()
    page.locator(".btn.authorize").first.click()
    page.locator(".auth-container input").fill(driver.key)
    page.locator(".auth-btn-wrapper .authorize").click()
    page.locator(".auth-btn-wrapper .btn-done").click()
    page.locator(".opblock", has_text="/v1/limits").locator(".opblock-summary").click()
    page.locator(".opblock", has_text="/v1/limits").get_by_role("button", name="Execute").click()
    page.wait_for_function("document.body.innerText.includes('max_image_bytes')")
    assert driver.key not in page.evaluate("JSON.stringify({...localStorage, ...sessionStorage})")


def test_the_content_security_policy_is_enforced(open_page: Any) -> None:
    driver = open_page(connect=False)
    page = driver.page
    page.goto(f"{driver.url}/docs")
    page.wait_for_selector(".opblock")
    ran = page.evaluate(
        """() => {
            const script = document.createElement('script');
            script.textContent = 'window.ran = true';
            document.body.append(script);
            return Boolean(window.ran);
        }"""
    )
    assert not ran
    assert any("Content Security Policy" in error for error in driver.errors)
    driver.errors.clear()
