# SPDX-License-Identifier: GPL-2.0-or-later
# XCLIENT: each client a proxy speaks for begins with nothing of the one before.
use strict;
use warnings;

my $acl = <<'ACL';
  accept message = <$sender_host_address:$sender_host_port> auth=<$authenticated_id> helo=<$sender_helo_name> \
                   proxy=<$proxy_local_address:$proxy_local_port> p=<$received_protocol>
ACL
my $port;

sub state {
    my ($lab, $c) = @_;
    $lab->say($c, 'MAIL FROM:<a@b.test>');
    my $r = $lab->say($c, 'RCPT TO:<box@local.test>');
    $lab->say($c, 'RSET');
    return $r =~ s/:$port>/:PORT>/r;
}

part('XCLIENT' => sub {
    my ($lab) = @_;
    $lab->start(acl => $acl, main => "hosts_xclient = 127.0.0.1\nqueue_only\nhosts_require_helo =\nsmtp_accept_max_nonmail = 4\nsmtp_accept_max_nonmail_hosts = !10.9.9.9 : *\n",
        rest => "begin authenticators\nplain:\n  driver = plaintext\n  public_name = PLAIN\n  server_condition = yes\n  server_set_id = \$auth2\n");
    my $c = $lab->client;
    $port = $c->{io}->sockport;
    $lab->say($c, 'EHLO proxy');
    is('the proxy proves who it is', substr($lab->say($c, 'AUTH PLAIN AHVzZXIAcHc='), 0, 3), '235');
    is('no address to be had', $lab->say($c, 'XCLIENT ADDR=[UNAVAILABLE] NAME=x'), '501 XCLIENT: the address of the client is needed');
    is('first client', $lab->say($c, 'XCLIENT ADDR=10.0.0.1 PORT=11'), '220 XCLIENT success');
    is('nothing of the proxy is left', state($lab, $c), '250 <10.0.0.1:11> auth=<> helo=<proxy> proxy=<127.0.0.1:PORT> p=<smtp>');
    check('AUTH is offered again', $lab->say($c, 'EHLO first') =~ /^250-AUTH PLAIN/m);
    is('second client, with a login', $lab->say($c, 'XCLIENT ADDR=10.0.0.2 PORT=22 LOGIN=joe'), '220 XCLIENT success');
    $lab->say($c, 'EHLO second');
    is('its state', state($lab, $c), '250 <10.0.0.2:22> auth=<joe> helo=<second> proxy=<10.0.0.1:11> p=<esmtpa>');
    is('third client, without', $lab->say($c, 'XCLIENT ADDR=10.0.0.3'), '220 XCLIENT success');
    is('the one before is forgotten', state($lab, $c), '250 <10.0.0.3:0> auth=<> helo=<second> proxy=<10.0.0.2:22> p=<smtp>');
    is('one that may do what it likes', $lab->say($c, 'XCLIENT ADDR=10.9.9.9'), '220 XCLIENT success');
    is('it does', join(' ', map { substr($lab->say($c, 'NOOP'), 0, 3) } 1 .. 8), join(' ', ('250') x 8));
    is('one that may not', $lab->say($c, 'XCLIENT ADDR=10.0.0.4'), '220 XCLIENT success');
    is('is counted from the start', join(' ', map { substr($lab->say($c, 'NOOP'), 0, 3) } 1 .. 5), '250 250 250 250 554');
});
1;
